/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look along the slots of a service, newest server first: what the
 * schedulers without a table have in common.
 *
 * The inner loop is a plain one over the slots of a block, the outer one
 * bpf_loop over blocks: half the price of bpf_loop over servers, and the
 * verifier sees 16 slots, not 1024.  The global functions are verified once,
 * on their own, wherever they are called from.
 */
#ifndef XLVS_SCHED_SLOTS_H
#define XLVS_SCHED_SLOTS_H

#include "helpers.h"
#include "maps.h"

#define XLVS_NO_SERVER		0xffffffffu
#define XLVS_NOWHERE		0xffffffffffffffffull

struct find {
	__u32 block;
	__u32 from;
	__u32 to;
	__u32 weight;
	__u64 found;		/* place << 32 | server */
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
		if (place < f->from)
			continue;
		if (place >= f->to)
			return 1;
		if (block->slot[j].weight >= f->weight) {
			f->found = (__u64)place << 32 | block->slot[j].server;
			return 1;
		}
	}
	return 0;
}

/* The first server of at least this weight at a place in [from, to), as place << 32 | server; or XLVS_NOWHERE. */
__noinline __u64 xlvs_find(__u32 block, __u32 from, __u32 to, __u32 weight)
{
	struct find f = {
		.block = block,
		.from = from,
		.to = to,
		.weight = weight,
		.found = XLVS_NOWHERE,
	};

	if (from < to && to <= XLVS_SERVICE_BLOCKS * XLVS_SLOTS_PER_BLOCK)
		bpf_loop((to - 1) / XLVS_SLOTS_PER_BLOCK - from / XLVS_SLOTS_PER_BLOCK + 1, find_in_block, &f, 0);
	return f.found;
}

struct least {
	__u32 block;
	__u32 n;
	__u32 cap;
	__u32 server;
	__s64 overhead;
	__s64 weight;
};

static long least_in_block(__u32 i, struct least *l)
{
	__u32 number = l->block + i, place = i * XLVS_SLOTS_PER_BLOCK;
	__s64 overhead, weight, better;
	const struct xlvs_block *block;
	const struct xlvs_load *load;
	int j;

	block = bpf_map_lookup_elem(&slots, &number);
	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++, place++) {
		const struct xlvs_slot *slot = &block->slot[j];

		if (place >= l->n)
			return 1;
		if (!slot->weight)
			continue;
		load = bpf_map_lookup_elem(&loads, &slot->server);
		if (!load)
			continue;
		overhead = ((__s64)READ_ONCE(load->active) << 8) + READ_ONCE(load->inactive);
		weight = slot->weight < l->cap ? slot->weight : l->cap;
		/* All ones if the new one is better: a branch here would double what the verifier has to follow. */
		better = (overhead * l->weight - l->overhead * weight) >> 63;
		barrier_var(better);
		l->overhead ^= (l->overhead ^ overhead) & better;
		l->weight ^= (l->weight ^ weight) & better;
		l->server ^= (l->server ^ slot->server) & better;
	}
	return 0;
}

/*
 * The server with the least overhead / weight, the first of equals; weights
 * count as at most `cap`.  Beginning with 1 / 0, worse than any, makes the
 * first server with a weight the one to beat.
 */
__noinline __u32 xlvs_least(__u32 block, __u32 n, __u32 cap)
{
	struct least l = {
		.block = block,
		.n = n,
		.cap = cap,
		.server = XLVS_NO_SERVER,
		.overhead = 1,
		.weight = 0,
	};

	if (n <= XLVS_SERVICE_BLOCKS * XLVS_SLOTS_PER_BLOCK)
		bpf_loop((n + XLVS_SLOTS_PER_BLOCK - 1) / XLVS_SLOTS_PER_BLOCK, least_in_block, &l, 0);
	return l.server;
}

/* How often a choice is made anew because another CPU was faster; then it stands, unrecorded. */
#define XLVS_SCHED_TRIES	8

static __always_inline __u64 *state_of(const struct xlvs_service *svc)
{
	__u32 key = 2 * svc->id + svc->half;

	return bpf_map_lookup_elem(&sched_state, &key);
}

#endif
