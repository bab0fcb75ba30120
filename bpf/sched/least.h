/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The server with the least load, of all of a service: what lc, wlc, sed and nq
 * do, each with its own idea of load.  Of equals it is the newest.
 */
#ifndef XLVS_SCHED_LEAST_H
#define XLVS_SCHED_LEAST_H

#include "slots.h"

enum by {
	BY_OVERHEAD,		/* lc: the overhead */
	BY_OVERHEAD_SHARE,	/* wlc: the overhead for the weight */
	BY_DELAY,		/* sed: the active connections with this one, for the weight */
	BY_WAIT,		/* nq: the same, but nothing where there is none */
};

/* The load, of which the lower half is the active connections, the upper half the inactive ones. */
static __always_inline __s64 overhead_of(__u64 load)
{
	return ((__s64)(load << 32) >> 24) + ((__s64)load >> 32);
}

static __always_inline __s64 active_of(__u64 load)
{
	return (__s64)(load << 32) >> 32;
}

static __always_inline __s64 load_by(__u64 load, enum by by)
{
	if (by < BY_DELAY)
		return overhead_of(load);
	return by == BY_WAIT && !active_of(load) ? 0 : active_of(load) + 1;
}

struct least {
	__u32 at;		/* the next block, and behind the last one */
	__u32 end;
	struct xlvs_slot best;
	__s64 load;		/* of the best */
	__u32 limited;
	__u32 pad;
};

/* The overheads of a block's servers, that of the last slot first; NULL: they are not all in one place. */
static __always_inline const __u32 *overheads_of(const struct xlvs_block *block)
{
	__u32 first = block->slot[0].choice, number = CHOICE_NUMBER(first) / XLVS_PAGE_SERVERS;
	const struct xlvs_page *page;

	if (!(first & XLVS_RUN))
		return NULL;
	page = bpf_map_lookup_elem(&overheads, &number);
	/* The slot behind each is that of the number before; where there is no slot, that may be before the page's first. */
	return page ? page->pad + 1 + first % XLVS_PAGE_SERVERS : NULL;
}

/* The same as below of a block whose servers' overheads are in one place: a third of the instructions. */
static __always_inline void least_of_run(struct least *l, const struct xlvs_block *block, const __u32 *overhead, enum by by)
{
	__s64 load, less, least = l->load;
	struct xlvs_slot best = l->best;
	int j;

#pragma unroll
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
		const struct xlvs_slot *slot = &block->slot[j];

		load = READ_ONCE(overhead[XLVS_SLOTS_PER_BLOCK - 1 - j]);
		/* With weight 0 it is never less by share. */
		less = by == BY_OVERHEAD ? load - least : load * best.weight - least * slot->weight;
		if (less >= 0 || (by == BY_OVERHEAD && !slot->weight))
			continue;
		if (l->limited && xlvs_overloaded(CHOICE_NUMBER(slot->choice)))
			continue;
		best = *slot;
		least = load;
	}
	l->best = best;
	l->load = least;
}

#define XLVS_LEAST_BLOCKS	8	/* of one call */

static __always_inline void least_of_block(struct least *l, const struct xlvs_block *block, enum by by)
{
	__s64 load, less, least = l->load;
	struct xlvs_slot best = l->best;
	int j;

#pragma unroll
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK; j++) {
		const struct xlvs_slot *slot = &block->slot[j];
		__u32 server = CHOICE_NUMBER(slot->choice);
		const __u64 *found;

		if (!slot->weight)
			continue;
		found = bpf_map_lookup_elem(&loads, &server);
		if (!found)
			continue;
		load = load_by(READ_ONCE(*found), by);
		less = by == BY_OVERHEAD ? load - least : load * best.weight - least * slot->weight;
		/* Whether it is overloaded is asked of a better one only: that is rare. */
		if (less >= 0 || (l->limited && xlvs_overloaded(server)))
			continue;
		best = *slot;
		least = load;
	}
	l->best = best;
	l->load = least;
}

static __always_inline void least_of_some(struct least *l, enum by by)
{
	int i;

	for (i = 0; i < XLVS_LEAST_BLOCKS && l->at < l->end; i++) {
		__u32 at = l->at;
		const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &at);
		const __u32 *overhead;

		if (!block)
			break;
		overhead = by < BY_DELAY ? overheads_of(block) : NULL;
		if (overhead)
			least_of_run(l, block, overhead, by);
		else
			least_of_block(l, block, by);
		l->at = at + 1;
	}
}

/* Global functions, so that each is verified once, and returning something, as those must. */
__noinline int xlvs_least_overhead(struct least *l)
{
	if (l)
		least_of_some(l, BY_OVERHEAD);
	return 0;
}

__noinline int xlvs_least_share(struct least *l)
{
	if (l)
		least_of_some(l, BY_OVERHEAD_SHARE);
	return 0;
}

__noinline int xlvs_least_delay(struct least *l)
{
	if (l)
		least_of_some(l, BY_DELAY);
	return 0;
}

__noinline int xlvs_least_wait(struct least *l)
{
	if (l)
		least_of_some(l, BY_WAIT);
	return 0;
}

/* The choice of the least load. */
__noinline __u32 xlvs_least(__u32 block, __u32 n, __u32 limited, enum by by)
{
	struct least l = {
		.at = block,
		.end = block + blocks_of(n),
		.best = { .choice = XLVS_NO_SERVER },	/* of weight 0, and so worse than any */
		.load = XLVS_WORST,
		.limited = limited,
	};
	int i;

	for (i = 0; i < XLVS_SERVICE_BLOCKS / XLVS_LEAST_BLOCKS && l.at < l.end; i++) {
		if (by == BY_OVERHEAD)
			xlvs_least_overhead(&l);
		else if (by == BY_OVERHEAD_SHARE)
			xlvs_least_share(&l);
		else if (by == BY_DELAY)
			xlvs_least_delay(&l);
		else
			xlvs_least_wait(&l);
	}
	return l.best.choice;
}

#endif
