/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Idle flows end by themselves, daemon or no daemon: a timer in a pinned map
 * goes through a part of the flow table at every tick and rearms itself.
 * Lookups treat an expired flow as absent, so the sweep only has to keep the
 * servers' loads exact, to empty the spill, and to keep the templates of
 * connections.
 *
 * It takes no lock: a slot changes hands by its word alone (open.h).  A stripe
 * where no flow was entered since the sweep last found it empty is passed by.
 */
#ifndef XLVS_SWEEP_H
#define XLVS_SWEEP_H

#include "shed.h"
#include "template.h"

#define CLOCK_MONOTONIC		1
#define SWEEP_TICK_NS		(SECOND / 20)
#define SWEEP_TICKS		40	/* in which the whole table is visited: two seconds */

struct visit {
	__u32	now;
	__u32	first;		/* bucket */
	__u32	stripe;
	__u32	live;
	__u32	v6;
	__u32	sysctls;	/* those of SYSCTLS_THAT_END_FLOWS that are on */
};

static __always_inline int is_persistent(__u32 server)
{
	struct xlvs_server *s = server_at(server);

	return s && s->flags & XLVS_SERVER_PERSISTENT;
}

/* The flow ends: idle for too long, or by one of the sysctls. */
static __always_inline int is_due(const struct visit *v, const struct xlvs_flow *flow, __u64 word)
{
	if (is_idle(flow, WORD_STATE(word), v->now))
		return 1;
	return unlikely(v->sysctls) && is_unwanted(flow, word, v->now, v->sysctls);
}

/* What holds for the whole of a visit. */
static __always_inline void visit_begin(struct visit *v)
{
	struct xlvs_config *c = the_config();

	v->now = bpf_jiffies64();
	v->sysctls = c ? c->sysctls & SYSCTLS_THAT_END_FLOWS : 0;
}

static __always_inline int visit_bucket(struct visit *v, __u32 number, int v6)
{
	void *bucket = bucket_at(number, v6);
	int i;

	if (!bucket)
		return 1;
#pragma unroll
	for (i = 0; i < XLVS_WAYS; i++) {
		struct xlvs_flow *flow = slot_of(bucket, i, v6);
		__u64 word = READ_ONCE(*word_at(flow));
		__u32 place = place_of(number, i, v6);

		if ((WORD_STATE(word) & 15) == XLVS_FLOW_FREE)
			continue;
		if (IS_LIVE(word) && is_due(v, flow, word) &&
		    flow_end(flow, v6 ? (void *)flow : NULL, word, place))
			continue;
		if (IS_LIVE(word) && !is_template(WORD_STATE(word)) && is_persistent(WORD_SERVER(word)))
			xlvs_template_keep(place);
		v->live = 1;
	}
	return 0;
}

static long visit_bucket4(__u32 i, struct visit *v)
{
	return visit_bucket(v, v->first + i, 0);
}

static long visit_bucket6(__u32 i, struct visit *v)
{
	return visit_bucket(v, v->first + i, 1);
}

static long visit_stripe(__u32 i, struct visit *v)
{
	struct xlvs_head *h = the_head();
	__u32 number = v->stripe + i;
	struct xlvs_stripe *stripe = bpf_map_lookup_elem(&flow_stripes, &number);

	if (!stripe || !h || !READ_ONCE(stripe->used))
		return 0;
	/* Before the look, by an atomic: whoever enters a flow behind our back sees it, and writes 1 again. */
	__sync_lock_test_and_set(&stripe->used, 2);
	v->live = 0;
	if (number < h->stripes[0]) {
		v->first = number << XLVS_STRIPE_SHIFT;
		bpf_loop(1 << XLVS_STRIPE_SHIFT, visit_bucket4, v, 0);
	} else {
		v->first = (number - h->stripes[0]) << XLVS_STRIPE_SHIFT;
		bpf_loop(1 << XLVS_STRIPE_SHIFT, visit_bucket6, v, 0);
	}
	if (v->live)
		WRITE_ONCE(stripe->used, 1);
	else
		__sync_val_compare_and_swap(&stripe->used, 2, 0);
	return 0;
}

static long visit_spilled(void *map, struct xlvs_spill_key *k, struct xlvs_flow6 *flow, struct visit *v)
{
	__u64 word = READ_ONCE(*word_at(&flow->low));
	struct xlvs_head *h = the_head();
	struct xlvs_addr virt;
	struct key key = {};
	struct ends e;

	if (!map || !h || !IS_LIVE(word) || !is_due(v, &flow->low, word) ||
	    !flow_end(&flow->low, flow, word, XLVS_PLACE_SPILL))
		return 0;
	/* From here on nobody else deletes the entry; until now it might have become another flow's, key and all. */
	flow_virt(&flow->low, flow, &virt);
	key.client = k->client;
	key.ports = k->cport;
	key.proto = k->proto;
	key.v6 = !is_v4(&virt);		/* of a client's address anybody may send any, a mapped one, too */
	e = ends_in(&key);
	spill_drop(&key, k->way, stripe_of(h, bucket_of(h, &e), e.v6));
	return 0;
}

static int sweep_tick(void *map, __u32 *key, struct xlvs_sweeper *s)
{
	__u32 zero = 0, n, all;
	struct xlvs_sweep *at = bpf_map_lookup_elem(&sweep, &zero);
	struct xlvs_head *h = the_head();
	struct visit v = {};

	if (!map || !key || !at || !h)
		return 0;
	all = h->stripes[0] + h->stripes[1];
	n = all / SWEEP_TICKS + 1;
	visit_begin(&v);
	v.stripe = at->stripe < all ? at->stripe : 0;
	bpf_loop(n, visit_stripe, &v, 0);
	at->stripe = v.stripe + n;
	at->jiffies = bpf_jiffies64();
	at->ns = bpf_ktime_get_coarse_ns();
	if (at->stripe >= all) {
		at->rounds++;
		if (READ_ONCE(h->spill))
			bpf_for_each_map_elem(&flow_spill, visit_spilled, &v, 0);
	}
	count(XLVS_COUNT_sweeps);
	bpf_timer_start(&s->timer, SWEEP_TICK_NS, 0);
	return 0;
}

/* Note what the two clocks say: user space knows one of them, flows are marked with the other. */
static __always_inline int sweep_clock(void)
{
	__u32 zero = 0;
	struct xlvs_sweep *at = bpf_map_lookup_elem(&sweep, &zero);

	if (!at)
		return -1;
	at->jiffies = bpf_jiffies64();
	at->ns = bpf_ktime_get_coarse_ns();
	return 0;
}

/* Arm the timer, or hand a running one to this program's version. */
static __always_inline int sweep_arm(void)
{
	__u32 zero = 0;
	struct xlvs_sweeper *s = bpf_map_lookup_elem(&sweeper, &zero);

	if (!s || sweep_clock())
		return -1;
	bpf_timer_init(&s->timer, &sweeper, CLOCK_MONOTONIC);	/* -EBUSY: it is armed already */
	if (bpf_timer_set_callback(&s->timer, sweep_tick))
		return -2;
	return bpf_timer_start(&s->timer, SWEEP_TICK_NS, 0);
}

#endif
