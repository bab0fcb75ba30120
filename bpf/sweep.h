/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Idle flows end by themselves, daemon or no daemon: a timer in a pinned map
 * goes through a slice of the flow array at every tick and rearms itself.
 * Lookups treat an expired flow as absent, so the sweep only has to keep the
 * servers' loads exact and give slots back.
 */
#ifndef XLVS_SWEEP_H
#define XLVS_SWEEP_H

#include "flow.h"

#define CLOCK_MONOTONIC		1
#define SWEEP_TICK_NS		(SECOND / 20)
#define SWEEP_TICKS		40	/* in which the whole table is visited: two seconds */
#define SWEEP_LEAST		256

struct sweep {
	__u64	now;
	__u32	first;
	__u32	end;
};

static int sweep_slot(__u32 i, void *arg)
{
	struct sweep *sweep = arg;
	__u32 slot = sweep->first + i;
	struct xlvs_flow *flow;
	__u64 word, seen;

	if (slot >= sweep->end)
		return 1;
	flow = bpf_map_lookup_elem(&flows, &slot);
	if (!flow)
		return 1;
	word = READ_ONCE(flow->word);
	seen = READ_ONCE(flow->seen);
	/* Never used (word 0) or given back. */
	if (!WORD_GENERATION(word) || WORD_STATE(word) == XLVS_STATE_DEAD)
		return 0;
	if (sweep->now > seen + idle_ns(WORD_STATE(word)))
		flow_end(flow, slot, word);
	return 0;
}

static int sweep_tick(void *map, __u32 *key, struct xlvs_sweeper *s)
{
	struct xlvs_table *t = the_table();
	struct sweep sweep = { .now = bpf_ktime_get_coarse_ns() };
	__u32 n;

	if (!map || !key || !t)
		return 0;
	sweep.end = READ_ONCE(t->next);
	sweep.first = t->cursor < sweep.end ? t->cursor : 0;
	n = sweep.end / SWEEP_TICKS + SWEEP_LEAST;
	bpf_loop(n, sweep_slot, &sweep, 0);
	t->cursor = sweep.first + n;
	count(XLVS_COUNT_sweeps);
	bpf_timer_start(&s->timer, SWEEP_TICK_NS, 0);
	return 0;
}

/* Arm the timer, or hand a running one to this program's version. */
static __always_inline int sweep_arm(void)
{
	__u32 zero = 0;
	struct xlvs_sweeper *s = bpf_map_lookup_elem(&sweeper, &zero);

	if (!s)
		return -1;
	bpf_timer_init(&s->timer, &sweeper, CLOCK_MONOTONIC);	/* -EBUSY: it is armed already */
	if (bpf_timer_set_callback(&s->timer, sweep_tick))
		return -2;
	return bpf_timer_start(&s->timer, SWEEP_TICK_NS, 0);
}

#endif
