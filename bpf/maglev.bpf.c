/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fills a table of mh, for user space: no packet comes here.
 *
 * sched/mh.py says what is filled, and in which order: the servers take turns,
 * each claiming the first free entries of its own permutation.  The daemon
 * writes the job, runs this by BPF_PROG_TEST_RUN until nothing is left, and
 * reads who owns which entry (dataplane/maglev.py).  One run is cut off after
 * so many steps, because the CPU handles no packets meanwhile.
 *
 * Following its permutation, a server looks at M / F entries before it meets
 * one of the last F free ones of M.  So when F is down to the root of M, it is
 * the other way round: each free entry says where in the server's permutation
 * it is, and the first is taken.  That halves the time.
 *
 * All that changes is kept in the job, not in registers: the verifier knows
 * nothing of a value in a map, and so sees that one step is like another.
 */
#include "abi.h"
#include "helpers.h"
#include "sched/siphash.h"

#define SERVERS		(XLVS_SLOTS_PER_BLOCK * XLVS_SERVICE_BLOCKS)
#define ENTRIES		(1 << 17)	/* the largest prime below it is the largest size */
#define WORDS		(ENTRIES / 64)

/* Looks at entries: in the plain loop of a callback, since a call of it costs several, and callbacks in a run. */
#define LOOKS		64
#define CALLBACKS	1024

#define LAST		512	/* above the root of ENTRIES */

struct maglev_server {
	__u32	seed;		/* address and port as the number that is hashed */
	__u32	turns;		/* entries to claim in each turn, not 0 */
	__u32	place;		/* the next entry of its permutation */
	__u32	skip;		/* from each entry to the one after it */
};

struct maglev_job {
	__u32	size;		/* of the table: a prime */
	__u32	n;		/* servers */
	__u32	left;		/* entries that nobody has */
	__u32	at;		/* whose turn it is */
	__u32	due;		/* how many entries it may still claim in this turn; 0: nothing has begun */
	__u32	listed;		/* of the last free entries, in last[] */
	__u32	best;		/* place in last[] */
	__u32	pad;
	struct maglev_server server[SERVERS];
	__u64	taken[WORDS];	/* one bit for each entry, so that they stay in the CPU's nearest cache; set behind the end */
	__u32	last[LAST];
	__u16	owner[ENTRIES];	/* place in server[] */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct maglev_job);
} maglev SEC(".maps");

static __always_inline struct maglev_job *the_job(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&maglev, &zero);
}

static __always_inline struct maglev_server *whose_turn(struct maglev_job *job)
{
	return &job->server[job->at & (SERVERS - 1)];
}

static long begin(__u32 i, void *unused __attribute__((unused)))
{
	struct maglev_job *job = the_job();
	struct maglev_server *s;

	if (!job || i >= SERVERS)
		return 1;
	s = &job->server[i];
	s->place = siphash(s->seed, XLVS_MH_KEY) % job->size;
	s->skip = siphash(s->seed, XLVS_MH_SKIP_KEY) % (job->size - 1) + 1;
	return 0;
}

/* The entry after this one.  Without a branch, which no CPU could foretell. */
static __always_inline __u32 after(__u32 place, __u32 skip, __u32 size)
{
	__s64 next = (__s64)place + skip - size, beyond = next >> 63;

	barrier_var(beyond);
	return next + (beyond & size);
}

/* Give the free entry at *place* to the server whose turn it is; true if it is the next one's turn now. */
static __always_inline int give(struct maglev_job *job, __u32 place)
{
	job->owner[place % ENTRIES] = job->at;
	job->left--;
	whose_turn(job)->place = place;
	if (--job->due)
		return 0;
	if (++job->at >= job->n)
		job->at = 0;
	job->due = whose_turn(job)->turns;
	return 1;
}

static __always_inline int are_last(const struct maglev_job *job)
{
	return (__u64)job->left * job->left <= job->size;
}

static long claim(__u32 i __attribute__((unused)), void *unused __attribute__((unused)))
{
	struct maglev_job *job = the_job();
	__u32 size, place, skip;
	int j;

	if (!job)
		return 1;
	size = job->size;
	place = whose_turn(job)->place;
	skip = whose_turn(job)->skip;
	for (j = 0; j < LOOKS; j++) {
		if (!(job->taken[place / 64 % WORDS] >> place % 64 & 1)) {
			int over;

			job->taken[place / 64 % WORDS] |= 1ull << place % 64;
			over = give(job, place);
			if (are_last(job))
				return 1;
			if (over) {
				place = whose_turn(job)->place;
				skip = whose_turn(job)->skip;
				continue;
			}
		}
		place = after(place, skip, size);
	}
	whose_turn(job)->place = place;
	return 0;
}

/* Put the free ones among 64 entries into the list. */
static long list(__u32 i, void *unused __attribute__((unused)))
{
	struct maglev_job *job = the_job();
	__u64 taken;
	int bit;

	if (!job || i >= WORDS)
		return 1;
	taken = job->taken[i];
	if (taken == ~0ull)
		return 0;
	for (bit = 0; bit < 64; bit++)
		if (!(taken >> bit & 1))
			job->last[job->listed++ % LAST] = 64 * i + bit;
	return 0;
}

/* How many times *skip* is one step, modulo the prime *size*: skip ^ (size - 2). */
static __always_inline __u64 inverse(__u64 skip, __u32 size)
{
	__u64 found = 1;
	int i;

	for (i = 0; i < 17; i++) {
		if ((size - 2) >> i & 1)
			found = found * skip % size;
		skip = skip * skip % size;
	}
	return found;
}

static long claim_last(__u32 i __attribute__((unused)), void *unused __attribute__((unused)))
{
	struct maglev_job *job = the_job();
	__u32 size, place, left, nearest = ~0u;
	__u64 steps;
	__u32 j;

	if (!job || !job->left)
		return 1;
	size = job->size;
	left = job->left;
	place = whose_turn(job)->place;
	steps = inverse(whose_turn(job)->skip, size);
	for (j = 0; j < LAST; j++) {
		__u32 ahead;

		if (j >= left)
			break;
		ahead = (job->last[j] + (__u64)size - place) * steps % size;
		if (ahead < nearest) {
			nearest = ahead;
			job->best = j;
		}
	}
	place = job->last[job->best % LAST];
	job->last[job->best % LAST] = job->last[(left - 1) % LAST];
	whose_turn(job)->place = place;
	give(job, place);
	return 0;
}

/* Go on with the job; returns how many entries are left. */
SEC("tc") int xlvs_maglev(struct __sk_buff *skb __attribute__((unused)))
{
	struct maglev_job *job = the_job();

	if (!job || !job->n || job->n > SERVERS || job->size < 2 || job->size > ENTRIES)
		return -1;
	if (!job->due) {
		bpf_loop(job->n, begin, NULL, 0);
		job->due = whose_turn(job)->turns;
	}
	if (!are_last(job))
		bpf_loop(CALLBACKS, claim, NULL, 0);
	if (are_last(job)) {
		if (!job->listed)
			bpf_loop((job->size + 63) / 64, list, NULL, 0);
		bpf_loop(job->left, claim_last, NULL, 0);
	}
	return job->left;
}

SEC("license") char _license[] = "GPL";
