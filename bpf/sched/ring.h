/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A choice by a ring: the places of a service's servers in the order in which
 * rr or wrr takes them, as user space found by doing the walk once
 * (src/xlvs/sched/parts/ring.py).  The next choice is the next entry, however many
 * servers the walk would pass over.
 *
 * A service without a ring (table_size 0) is walked: see rr.h and wrr.h.
 */
#ifndef XLVS_SCHED_RING_H
#define XLVS_SCHED_RING_H

#include "slots.h"

/* The choice at this place of the service; or XLVS_NO_SERVER. */
static __always_inline __u32 choice_at(const struct xlvs_service *svc, __u32 place)
{
	__u32 number = svc->block + place / XLVS_SLOTS_PER_BLOCK;
	const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &number);

	return block ? block->slot[place % XLVS_SLOTS_PER_BLOCK].choice : XLVS_NO_SERVER;
}

/* The state is the place of the last choice, as without a ring, and above it its index in the ring. */
static __always_inline __u32 xlvs_ring(const struct xlvs_service *svc, __u64 *state)
{
	__u32 choice = XLVS_NO_SERVER, key = svc->index;
	void *ring;
	int i;

	ring = bpf_map_lookup_elem(&tables, &key);
	if (!ring)
		return XLVS_NO_SERVER;
	for (i = 0; i < XLVS_SCHED_TRIES; i++) {
		__u64 old = READ_ONCE(*state);
		__u32 index = (__u32)(old >> 32) + 1;	/* 0 after -1, before the first */
		const __u32 *place;

		if (index >= svc->table_size)
			index = 0;
		place = bpf_map_lookup_elem(ring, &index);
		if (!place)
			break;
		choice = choice_at(svc, *place);
		if (__sync_val_compare_and_swap(state, old, (__u64)index << 32 | *place) == old)
			break;
	}
	return choice;
}

#endif
