/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The servers that the flows to a virtual address go to: what lblc and lblcr
 * remember, lblc one of them, lblcr a set.
 *
 * Of a set the server with the least overhead for its weight is wanted, and the
 * one with the most; of equals the one that came last.  Both are found by one
 * look along the slots of the service, which alone know the weights.  A server
 * that is not there any more is in no slot.
 *
 * Nothing is locked: CPUs that change the same set at once may lose a change,
 * or enter a server twice; the next choice is right all the same.
 */
#ifndef XLVS_SCHED_LOCALITY_H
#define XLVS_SCHED_LOCALITY_H

#include "least.h"

#define XLVS_NS_PER_SECOND	1000000000ull

struct member {
	struct xlvs_slot slot;	/* of weight 0: there is no such member */
	__s64 overhead;
	__s64 active;
	__u32 at;		/* place in the set */
	__u32 pad;
};

/* In the scratch map: the stack would not hold it. */
struct set {
	__u32 pad;
	__u32 n;		/* servers of the set */
	__u64 hint;		/* bits of their numbers: most others are told apart at once */
	__u32 server[XLVS_LOCALITY_SERVERS];
	__u32 found;		/* a bit for each of them that the service has */
	__u32 pad2;
	struct member least;	/* of those that take new flows */
	struct member most;	/* overloaded or not */
};

#define LOCALITY_AT	256	/* behind the set: a locality that is to be entered ... */
#define LOCALITY_KEY_AT	384	/* ... and whose */

static __always_inline void *set_scratch(__u32 at)
{
	__u32 zero = 0;
	struct xlvs_scratch *s = bpf_map_lookup_elem(&scratch, &zero);

	return s ? s->bytes + at : NULL;
}

static __always_inline __u32 second_now(void)
{
	return bpf_ktime_get_coarse_ns() / XLVS_NS_PER_SECOND;
}

static __always_inline __s64 compare(const struct member *a, const struct member *b)
{
	return a->overhead * b->slot.weight - b->overhead * a->slot.weight;
}

/* If the server is of the set: is it the least or the most loaded one so far? */
__noinline int xlvs_member(struct set *s, __u32 choice, __u32 weight)
{
	__u32 server = CHOICE_NUMBER(choice), at = XLVS_LOCALITY_SERVERS;
	const struct xlvs_load *load;
	struct member m = {};
	__s64 less, more;
	__u32 i;

	if (!s)
		return 0;
	for (i = 0; i < XLVS_LOCALITY_SERVERS; i++)
		if (i < s->n && s->server[i] == server)
			at = i;
	load = bpf_map_lookup_elem(&loads, &server);
	if (at == XLVS_LOCALITY_SERVERS || !load)
		return 0;
	s->found |= 1u << at;
	if (!weight)
		return 0;
	m.slot.choice = choice;
	m.slot.weight = weight;
	m.overhead = overhead_of(READ_ONCE(*(const __u64 *)load));
	m.active = active_of(READ_ONCE(*(const __u64 *)load));
	m.at = at;
	less = compare(&m, &s->least);
	more = -compare(&m, &s->most);
	if (!s->most.slot.weight || more < 0 || (!more && at > s->most.at))
		s->most = m;
	if ((!s->least.slot.weight || less < 0 || (!less && at > s->least.at)) && !is_overloaded(load, &server))
		s->least = m;
	return 0;
}

static long members_in_block(__u32 i, __u32 *first)
{
	__u32 number = *first + i;
	const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &number);
	struct set *s = set_scratch(0);
	int j;

	if (!block || !s)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++)
		if (s->hint >> (block->slot[j].choice & 63) & 1)
			xlvs_member(s, block->slot[j].choice, block->slot[j].weight);
	return 0;
}

/* Look at the members of *l*. */
static __always_inline struct set *look_at(const struct xlvs_service *svc, const struct xlvs_locality *l)
{
	struct set *s = set_scratch(0);
	__u32 i, block = svc->block;

	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->n = READ_ONCE(l->n);
	for (i = 0; i < XLVS_LOCALITY_SERVERS; i++) {
		s->server[i] = READ_ONCE(l->server[i]);
		if (i < s->n)
			s->hint |= 1ull << (s->server[i] & 63);
	}
	bpf_loop(blocks_of(svc->n), members_in_block, &block, 0);
	return s;
}

struct spare {
	__u32 block;
	__u32 found;
};

static long spare_in_block(__u32 i, struct spare *s)
{
	__u32 number = s->block + i;
	const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &number);
	int j;

	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
		__u32 server = CHOICE_NUMBER(block->slot[j].choice);
		const __u64 *load = bpf_map_lookup_elem(&loads, &server);

		if (load && 2 * active_of(READ_ONCE(*load)) < (__s64)block->slot[j].weight) {
			s->found = 1;
			return 1;
		}
	}
	return 0;
}

/* Does the service have a server with less than half as many active flows as its weight says? */
__noinline int xlvs_has_spare(__u32 block, __u32 n)
{
	struct spare s = { .block = block };

	bpf_loop(blocks_of(n), spare_in_block, &s, 0);
	return s.found;
}

/* May the member be chosen?  Not if it has more active flows than its weight says while another is half idle. */
static __always_inline int is_good(const struct xlvs_service *svc, const struct member *m)
{
	return m->slot.weight && (m->active <= (__s64)m->slot.weight || !xlvs_has_spare(svc->block, svc->n));
}

/* The second in which the service got its scheduler: that of its first choice, which its state then says. */
static __always_inline __u32 first_second(const struct xlvs_service *svc, __u32 now)
{
	__u64 *state = state_of(svc), old;

	if (!state)
		return now;
	old = READ_ONCE(*state);
	if (old >> 32)
		return old >> 32;
	__sync_val_compare_and_swap(state, old, (__u64)now << 32 | (__u32)old);
	return now;
}

/* What is remembered of the address, unless it was not used for *for_s* seconds, or by this scheduler. */
static __always_inline struct xlvs_locality *locality_find(const struct xlvs_service *svc, const struct xlvs_addr *virt,
							    __u32 now, __u32 for_s)
{
	struct xlvs_locality_key *k = set_scratch(LOCALITY_KEY_AT);
	__u32 first = first_second(svc, now);
	struct xlvs_locality *l;

	if (!k)
		return NULL;
	k->virt = *virt;
	k->service = svc->index / 2;
	l = bpf_map_lookup_elem(&localities, k);
	if (!l || now - READ_ONCE(l->used) >= for_s || (__s32)(READ_ONCE(l->used) - first) < 0)
		return NULL;
	if (READ_ONCE(l->used) != now)
		WRITE_ONCE(l->used, now);
	return l;
}

/* After how many seconds lblc forgets an address, lblcr that and a server of a set; 0 without a configuration. */
static __always_inline __u32 lblc_s(void)
{
	struct xlvs_config *c = the_config();

	return c ? c->lblc_s : 0;
}

static __always_inline __u32 lblcr_s(void)
{
	struct xlvs_config *c = the_config();

	return c ? c->lblcr_s : 0;
}

/* Remember one server of the address that was looked for last. */
static __always_inline void locality_begin(__u32 server, __u32 now)
{
	struct xlvs_locality_key *k = set_scratch(LOCALITY_KEY_AT);
	struct xlvs_locality *l = set_scratch(LOCALITY_AT);

	if (!k || !l)
		return;
	memset(l, 0, sizeof(*l));
	l->used = now;
	l->changed = now;
	l->n = 1;
	l->server[0] = server;
	bpf_map_update_elem(&localities, k, l, BPF_ANY);
}

#endif
