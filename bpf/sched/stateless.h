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
	__u32 n;
	__u64 client;
	__s64 cost;
	__s64 weight;
	__u32 server;
};

/* The finaliser of SplitMix64: every bit of the input moves every bit of the output. */
static __always_inline __u64 mix(__u64 x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* -log2((v + 1) / 2^32), in 1 / 65536. */
static __always_inline __s64 cost_of(__u32 v)
{
	__u64 x = (__u64)v + 1, log = 0, shift, m;

#define HALVE(bits) do {				\
		shift = (__u64)(x >> (bits) != 0) * (bits);	\
		x >>= shift;				\
		log += shift;				\
	} while (0)
	HALVE(32);
	HALVE(16);
	HALVE(8);
	HALVE(4);
	HALVE(2);
	HALVE(1);
#undef HALVE
	/* x is 1 now: what was below the leading bit is the mantissa. */
	m = (((__u64)v + 1) << 16 >> log) & 0xffff;
	return (32ll << 16) - (__s64)((log << 16) + m + (m * (0x10000 - m) * 22545 >> 32));
}

static long rendezvous_in_block(__u32 i, struct rendezvous *r)
{
	__u32 number = r->block + i, place = i * XLVS_SLOTS_PER_BLOCK;
	const struct xlvs_block *block;
	__s64 cost, better;
	int j;

	block = bpf_map_lookup_elem(&slots, &number);
	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++, place++) {
		const struct xlvs_slot *slot = &block->slot[j];

		if (place >= r->n)
			return 1;
		if (!slot->weight)
			continue;
		cost = cost_of(mix(r->client ^ slot->server) >> 32);
		better = (cost * r->weight - r->cost * (__s64)slot->weight) >> 63;
		barrier_var(better);
		r->cost ^= (r->cost ^ cost) & better;
		r->weight ^= (r->weight ^ slot->weight) & better;
		r->server ^= (r->server ^ slot->server) & better;
	}
	return 0;
}

__noinline __u32 xlvs_rendezvous(__u32 block, __u32 n, __u64 client)
{
	struct rendezvous r = {
		.block = block,
		.n = n,
		.client = client,
		.cost = 1,	/* 1 / 0: worse than any */
		.server = XLVS_NO_SERVER,
	};

	if (n <= XLVS_SERVICE_BLOCKS * XLVS_SLOTS_PER_BLOCK)
		bpf_loop((n + XLVS_SLOTS_PER_BLOCK - 1) / XLVS_SLOTS_PER_BLOCK, rendezvous_in_block, &r, 0);
	return r.server;
}

static __always_inline __u64 client_hash(const struct xlvs_addr *addr, __be16 port)
{
	__u64 x = mix((__u64)addr->w[0] << 32 | addr->w[1]);

	x = mix(x ^ ((__u64)addr->w[2] << 32 | addr->w[3]));
	return mix(x ^ port);
}

#endif
