/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many flows a server has: counted by whoever swaps a flow's word, so that
 * the counts are exact, and held against its thresholds.
 */
#ifndef XLVS_LOAD_H
#define XLVS_LOAD_H

#include "buckets.h"
#include "limit.h"

#define ONE_STATE(number, bit)	((__u64)(bit) << (number))

static const __u64 states_active = 0
#define XLVS_STATE(number, name, idle, active, reclaim) | ONE_STATE(number, active)
#include "tbl/state.h"
#undef XLVS_STATE
;

static __always_inline int is_active(__u8 state)
{
	return states_active >> state & 1;
}

/* Count *n* flows more in this state. */
static __always_inline void load_add(__u32 server, __u8 state, int n)
{
	struct xlvs_load *l = bpf_map_lookup_elem(&loads, &server);
	__u32 number = server / XLVS_PAGE_SERVERS;
	struct xlvs_page *page;

	if (!l)
		return;
	if (unlikely(is_template(state))) {
		__sync_fetch_and_add(&l->persistent, n);
		return;
	}
	__sync_fetch_and_add(is_active(state) ? &l->active : &l->inactive, n);
	page = bpf_map_lookup_elem(&overheads, &number);
	if (page)
		__sync_fetch_and_add(&page->overhead[server % XLVS_PAGE_SERVERS], is_active(state) ? 256 * n : n);
}

/* A flow went to another state.  In this order: never one more than there are, which might be one too many. */
__noinline int xlvs_load_move(__u32 server, __u32 from, __u32 to)
{
	load_add(server, from, -1);
	load_add(server, to, 1);
	return 0;
}

/* A flow has begun. */
static __always_inline void load_begun(__u32 server)
{
	const struct xlvs_server *s = bpf_map_lookup_elem(&servers, &server);

	if (s && unlikely(s->flags & XLVS_SERVER_LIMITED))
		xlvs_fill_up(server);
}

/* A flow has ended: has its server room again?  Inline, for the stack's sake. */
static __always_inline void load_ended(__u32 server)
{
	struct xlvs_load *l = bpf_map_lookup_elem(&loads, &server);
	const struct xlvs_options *o;

	if (!l || likely(!READ_ONCE(l->overloaded)))
		return;
	o = bpf_map_lookup_elem(&server_options, &server);
	if (o && (!o->upper || load_total(l) < lower_of(o)))
		WRITE_ONCE(l->overloaded, 0);
}

#endif
