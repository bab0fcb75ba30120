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
 * next (least.h).  Global functions are verified once, on their own, wherever
 * they are called from.
 */
#ifndef XLVS_SCHED_SLOTS_H
#define XLVS_SCHED_SLOTS_H

#include "helpers.h"
#include "limit.h"
#include "maps.h"

#define XLVS_NOWHERE		0xffffffffffffffffull
#define XLVS_WORST		(1ll << 32)	/* above any overhead, and fit to be multiplied by any weight */

/* How many blocks hold this many slots; 0 if no service can be that large. */
static __always_inline __u32 blocks_of(__u32 n)
{
	if (n > XLVS_SERVICE_BLOCKS * XLVS_SLOTS_PER_BLOCK)
		return 0;
	return (n + XLVS_SLOTS_PER_BLOCK - 1) / XLVS_SLOTS_PER_BLOCK;
}

/* Must the servers of the service be asked whether they are overloaded? */
static __always_inline __u32 is_limited(const struct xlvs_service *svc)
{
	return svc->flags & XLVS_SERVICE_LIMITED;
}

struct find {
	__u32 block;
	__u32 from;
	__u32 weight;
	__u32 limited;
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
		if (place < f->from || block->slot[j].weight < f->weight)
			continue;
		if (f->limited && server_overloaded(CHOICE_NUMBER(block->slot[j].choice)))
			continue;
		f->found = (__u64)place << 32 | block->slot[j].choice;
		return 1;
	}
	return 0;
}

/* The first server of at least this weight (not 0) from this place on, as place << 32 | choice; or XLVS_NOWHERE. */
__noinline __u64 xlvs_find(__u32 block, __u32 from, __u32 n, __u32 weight, __u32 limited)
{
	struct find f = {
		.block = block,
		.from = from,
		.weight = weight,
		.limited = limited,
		.found = XLVS_NOWHERE,
	};

	if (from < n)
		bpf_loop(blocks_of(n) - from / XLVS_SLOTS_PER_BLOCK, find_in_block, &f, 0);
	return f.found;
}

/* How often a choice is made anew because another CPU was faster; then it stands, unrecorded. */
#define XLVS_SCHED_TRIES	8

static __always_inline __u64 *state_of(const struct xlvs_service *svc)
{
	__u32 index = svc->index;	/* before 6.2 what a global function is given is no key */

	return bpf_map_lookup_elem(&sched_state, &index);
}

#endif
