/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server with the largest weight: what fo and ovf choose, and what wrr must
 * know of servers with thresholds.
 */
#ifndef XLVS_SCHED_HEAVIEST_H
#define XLVS_SCHED_HEAVIEST_H

#include "least.h"

struct heaviest {
	__u32 block;
	__u32 limited;
	__u32 roomy;
	struct xlvs_slot best;
};

/* Has the server no more active connections than its weight says? */
static __always_inline int has_room(__u32 server, __u32 weight)
{
	const __u64 *load = bpf_map_lookup_elem(&loads, &server);

	return load && active_of(READ_ONCE(*load)) <= (__s64)weight;
}

static long heaviest_in_block(__u32 i, struct heaviest *h)
{
	__u32 number = h->block + i;
	const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &number);
	int j;

	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
		const struct xlvs_slot *slot = &block->slot[j];
		__u32 server = CHOICE_NUMBER(slot->choice);

		if (slot->weight <= h->best.weight)
			continue;
		if (h->roomy && !has_room(server, slot->weight))
			continue;
		if (h->limited && server_overloaded(server))
			continue;
		h->best = *slot;
	}
	return 0;
}

/*
 * Weight << 32 | choice of the heaviest, the newest of equals; with *roomy* of those that have room.  Weight 0 and
 * XLVS_NO_SERVER: there is none.
 */
__noinline __u64 xlvs_heaviest(__u32 block, __u32 n, __u32 limited, __u32 roomy)
{
	struct heaviest h = {
		.block = block,
		.limited = limited,
		.roomy = roomy,
		.best = { .choice = XLVS_NO_SERVER },
	};

	bpf_loop(blocks_of(n), heaviest_in_block, &h, 0);
	return (__u64)h.best.weight << 32 | h.best.choice;
}

#endif
