/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look along the slots of a service, newest server first: what the
 * schedulers without a table have in common.  Slots behind the last server
 * have weight 0, as have those of servers that take no new flows.
 *
 * The inner loop is a plain one over the slots of a block, the outer one
 * bpf_loop over blocks: a third of the price of bpf_loop over servers, and the
 * verifier sees 16 slots, not 1024.  The global functions are verified once,
 * on their own, wherever they are called from.
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
	__u32 block;
	struct xlvs_slot best;
	__s64 overhead;		/* of the best */
};

static __always_inline long least_in(__u32 i, struct least *l, int weighted)
{
	__s64 overhead, least = l->overhead;
	struct xlvs_slot best = l->best;
	const struct xlvs_block *block;
	__u32 number = l->block + i;
	int j;

	block = bpf_map_lookup_elem(&slots, &number);
	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
		const struct xlvs_slot *slot = &block->slot[j];
		__u32 server = CHOICE_NUMBER(slot->choice);
		const struct xlvs_load *load;

		if (!slot->weight)
			continue;
		load = bpf_map_lookup_elem(&loads, &server);
		if (!load)
			continue;
		overhead = ((__s64)READ_ONCE(load->active) << 8) + READ_ONCE(load->inactive);
		if (weighted ? overhead * best.weight < least * slot->weight : overhead < least) {
			best = *slot;
			least = overhead;
		}
	}
	l->best = best;
	l->overhead = least;
	return 0;
}

static long least_in_block(__u32 i, struct least *l)
{
	return least_in(i, l, 0);
}

static long least_weighted_in_block(__u32 i, struct least *l)
{
	return least_in(i, l, 1);
}

/* The server with the least overhead, or overhead / weight; the first of equals. */
__noinline __u32 xlvs_least(__u32 block, __u32 n, __u32 weighted)
{
	struct least l = {
		.block = block,
		.best = { .choice = XLVS_NO_SERVER },	/* of weight 0, and so worse than any */
		.overhead = XLVS_WORST,
	};

	if (weighted)
		bpf_loop(blocks_of(n), least_weighted_in_block, &l, 0);
	else
		bpf_loop(blocks_of(n), least_in_block, &l, 0);
	return l.best.choice;
}

/* How often a choice is made anew because another CPU was faster; then it stands, unrecorded. */
#define XLVS_SCHED_TRIES	8

static __always_inline __u64 *state_of(const struct xlvs_service *svc)
{
	return bpf_map_lookup_elem(&sched_state, &svc->index);
}

#endif
