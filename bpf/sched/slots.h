/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look along the slots of a service, newest server first: what the
 * schedulers without a table have in common.  Slots behind the last server
 * have weight 0, as have those of servers that take no new flows.
 *
 * The inner loop is a plain one over the slots of a block, so that the verifier
 * sees 16 of them, not 1024.  Where the outer one ends early it is bpf_loop;
 * where it never does, that would cost a callback per block, a quarter of all:
 * there a function goes through some of the blocks and is called again for the
 * next.  Global functions are verified once, on their own, wherever they are
 * called from.
 */
#ifndef XLVS_SCHED_SLOTS_H
#define XLVS_SCHED_SLOTS_H

#include "helpers.h"
#include "maps.h"

#define XLVS_NOWHERE		0xffffffffffffffffull
#define XLVS_WORST		(1ll << 46)	/* above any overhead, and fit to be multiplied by a weight */

/* How many blocks hold this many slots; 0 if no service can be that large. */
static __always_inline __u32 blocks_of(__u32 n)
{
	if (n > XLVS_SERVICE_BLOCKS * XLVS_SLOTS_PER_BLOCK)
		return 0;
	return (n + XLVS_SLOTS_PER_BLOCK - 1) / XLVS_SLOTS_PER_BLOCK;
}

struct find {
	__u32 block;
	__u32 from;
	__u32 weight;
	__u64 found;		/* place << 32 | choice */
};

static long find_in_block(__u32 i, struct find *f)
{
	__u32 number = f->from / XLVS_SLOTS_PER_BLOCK + i;
	__u32 place = number * XLVS_SLOTS_PER_BLOCK;
	const struct xlvs_block *block;
	int j;

	number += f->block;
	block = bpf_map_lookup_elem(&slots, &number);
	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++, place++) {
		if (place >= f->from && block->slot[j].weight >= f->weight) {
			f->found = (__u64)place << 32 | block->slot[j].choice;
			return 1;
		}
	}
	return 0;
}

/* The first server of at least this weight (not 0) from this place on, as place << 32 | choice; or XLVS_NOWHERE. */
__noinline __u64 xlvs_find(__u32 block, __u32 from, __u32 n, __u32 weight)
{
	struct find f = {
		.block = block,
		.from = from,
		.weight = weight,
		.found = XLVS_NOWHERE,
	};

	if (from < n)
		bpf_loop(blocks_of(n) - from / XLVS_SLOTS_PER_BLOCK, find_in_block, &f, 0);
	return f.found;
}

struct least {
	__u32 at;		/* the next block, and behind the last one */
	__u32 end;
	struct xlvs_slot best;
	__s64 overhead;		/* of the best */
};

#define XLVS_LEAST_BLOCKS	8	/* of one call */

static __always_inline void least_of_some(struct least *l, int weighted)
{
	__s64 overhead, less, least = l->overhead;
	struct xlvs_slot best = l->best;
	__u32 at = l->at;
	int i, j;

	for (i = 0; i < XLVS_LEAST_BLOCKS && at < l->end; i++) {
		const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &at);

		if (!block)
			break;
		at++;
#pragma unroll
		for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
			const struct xlvs_slot *slot = &block->slot[j];
			__u32 server = CHOICE_NUMBER(slot->choice);
			const __u64 *load;
			__u64 both;

			if (!slot->weight)
				continue;
			load = bpf_map_lookup_elem(&loads, &server);
			if (!load)
				continue;
			both = READ_ONCE(*load);	/* struct xlvs_load: active, inactive */
			overhead = ((__s64)(both << 32) >> 24) + ((__s64)both >> 32);
			less = weighted ? overhead * best.weight - least * slot->weight : overhead - least;
			if (less >= 0)
				continue;
			best = *slot;
			least = overhead;
		}
	}
	l->at = at;
	l->best = best;
	l->overhead = least;
}

/* Global functions, so that each is verified once, and returning something, as those must. */
__noinline int xlvs_least_plain(struct least *l)
{
	if (l)
		least_of_some(l, 0);
	return 0;
}

__noinline int xlvs_least_weighted(struct least *l)
{
	if (l)
		least_of_some(l, 1);
	return 0;
}

/* The server with the least overhead, or overhead / weight; the first of equals. */
__noinline __u32 xlvs_least(__u32 block, __u32 n, __u32 weighted)
{
	struct least l = {
		.at = block,
		.end = block + blocks_of(n),
		.best = { .choice = XLVS_NO_SERVER },	/* of weight 0, and so worse than any */
		.overhead = XLVS_WORST,
	};
	int i;

	for (i = 0; i < XLVS_SERVICE_BLOCKS / XLVS_LEAST_BLOCKS && l.at < l.end; i++) {
		if (weighted)
			xlvs_least_weighted(&l);
		else
			xlvs_least_plain(&l);
	}
	return l.best.choice;
}

/* How often a choice is made anew because another CPU was faster; then it stands, unrecorded. */
#define XLVS_SCHED_TRIES	8

static __always_inline __u64 *state_of(const struct xlvs_service *svc)
{
	__u32 index = svc->index;	/* before 6.2 what a global function is given is no key */

	return bpf_map_lookup_elem(&sched_state, &index);
}

#endif
