/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The choice when there is no room to remember it: weighted rendezvous hashing.
 *
 * Client and server number are hashed together into a fraction h of (0, 1],
 * and the server with the least -log2(h) / weight wins: each gets its share of
 * the clients, and a server that comes or goes moves none but its own.
 * Fractions are compared by cross-multiplying, logarithms are fixed point
 * with 16 bits behind the point, log2(1 + m) taken as m + 0.344 m (1 - m),
 * which is 0.008 off at most.
 */
#ifndef XLVS_SCHED_STATELESS_H
#define XLVS_SCHED_STATELESS_H

#include "slots.h"

struct rendezvous {
	__u32 block;
	struct xlvs_slot best;
	__s64 cost;		/* of the best */
	__u64 client;
};

/* The finaliser of SplitMix64: every bit of the input moves every bit of the output. */
static __always_inline __u64 mix(__u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* -log2(h / 2^32) in 1 / 65536, for h in 1 ... 2^32. */
static __always_inline __s64 cost_of(__u64 h)
{
	__u64 rest = h, log = 0, shift, m;
	int bits;

	for (bits = 32; bits; bits /= 2) {
		shift = (__u64)(rest >> bits != 0) * bits;
		rest >>= shift;
		log += shift;
	}
	m = (h << 16 >> log) & 0xffff;
	return (32ll << 16) - (__s64)((log << 16) + m + (m * (0x10000 - m) * 22545 >> 32));
}

static long rendezvous_in_block(__u32 i, struct rendezvous *r)
{
	struct xlvs_slot best = r->best;
	const struct xlvs_block *block;
	__u32 number = r->block + i;
	__s64 cost, least = r->cost;
	__u64 h;
	int j;

	block = bpf_map_lookup_elem(&slots, &number);
	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
		const struct xlvs_slot *slot = &block->slot[j];

		if (!slot->weight)
			continue;
		h = (mix(r->client ^ CHOICE_NUMBER(slot->choice)) >> 32) + 1;
		/* No cost is below 1.3 (1 - h): most servers are out before there is a logarithm to take. */
		cost = ((1ull << 32) - h) * 85196 >> 32;
		if (cost * best.weight >= least * slot->weight)
			continue;
		cost = cost_of(h);
		if (cost * best.weight < least * slot->weight) {
			best = *slot;
			least = cost;
		}
	}
	r->best = best;
	r->cost = least;
	return 0;
}

__noinline __u32 xlvs_rendezvous(__u32 block, __u32 n, __u64 client)
{
	struct rendezvous r = {
		.block = block,
		.best = { .choice = XLVS_NO_SERVER },	/* of weight 0, and so worse than any */
		.cost = XLVS_WORST,
		.client = client,
	};

	bpf_loop(blocks_of(n), rendezvous_in_block, &r, 0);
	return r.best.choice;
}

static __always_inline __u64 client_hash(const struct xlvs_addr *addr, __be16 port)
{
	__u64 x = mix((__u64)addr->w[0] << 32 | addr->w[1]);

	x = mix(x ^ ((__u64)addr->w[2] << 32 | addr->w[3]));
	return mix(x ^ port);
}

#endif
