/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * twos: the better of two.
 *
 * Draw two servers by their weights, and take the one with the less overhead for
 * its weight, the first of equals.  A draw is a number from 0 to the sum of all
 * weights, both included, from which the weights are taken away, newest server
 * first, until nothing is left: so the newest has one more to win by than its
 * weight.  Overloaded servers and those of weight 0 are not drawn.  (After
 * ip_vs_twos.c.)
 */
#ifndef XLVS_SCHED_TWOS_H
#define XLVS_SCHED_TWOS_H

#include "least.h"

struct twos {
	__u32 block;
	__u32 limited;
	__u64 total;
	__s64 left[2];			/* of each draw */
	struct xlvs_slot drawn[2];
};

static __always_inline int may_draw(const struct twos *t, const struct xlvs_slot *slot)
{
	return slot->weight && !(t->limited && xlvs_overloaded(CHOICE_NUMBER(slot->choice)));
}

static long add_weights(__u32 i, struct twos *t)
{
	__u32 number = t->block + i;
	const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &number);
	int j;

	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++)
		if (may_draw(t, &block->slot[j]))
			t->total += block->slot[j].weight;
	return 0;
}

static long draw(__u32 i, struct twos *t)
{
	__u32 number = t->block + i;
	const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &number);
	int j, k;

	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
		if (!may_draw(t, &block->slot[j]))
			continue;
		for (k = 0; k < 2; k++) {
			if (t->left[k] > 0 || !t->drawn[k].weight)
				t->drawn[k] = block->slot[j];
			t->left[k] -= block->slot[j].weight;
		}
	}
	return t->left[0] <= 0 && t->left[1] <= 0 && t->drawn[0].weight;
}

static __always_inline __u64 random_below(__u64 end)
{
	return ((__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32()) % end;
}

static __always_inline __s64 overhead_at(const struct xlvs_slot *slot)
{
	__u32 server = CHOICE_NUMBER(slot->choice);
	const __u64 *load = bpf_map_lookup_elem(&loads, &server);

	return load ? overhead_of(READ_ONCE(*load)) : 0;
}

__noinline __u32 xlvs_twos(__u32 block, __u32 n, __u32 limited)
{
	struct twos t = {
		.block = block,
		.limited = limited,
		.drawn = { { .choice = XLVS_NO_SERVER }, { .choice = XLVS_NO_SERVER } },
	};

	bpf_loop(blocks_of(n), add_weights, &t, 0);
	t.left[0] = random_below(t.total + 1);
	t.left[1] = random_below(t.total + 1);
	bpf_loop(blocks_of(n), draw, &t, 0);
	if (overhead_at(&t.drawn[1]) * t.drawn[0].weight < overhead_at(&t.drawn[0]) * t.drawn[1].weight)
		return t.drawn[1].choice;
	return t.drawn[0].choice;
}

#endif
