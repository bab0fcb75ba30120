/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Thresholds: a server whose connections have reached its upper threshold is
 * overloaded, and takes no new ones, until there are fewer than its lower one.
 *
 * What is remembered is the upper threshold that was reached, so that who
 * raises or lifts it later ends that, as in IPVS (__ip_vs_update_dest).
 */
#ifndef XLVS_LIMIT_H
#define XLVS_LIMIT_H

#include "helpers.h"
#include "maps.h"

static __always_inline __u32 load_total(const struct xlvs_load *l)
{
	__s64 total = (__s64)READ_ONCE(l->active) + READ_ONCE(l->inactive);

	return total < 0 ? 0 : total;
}

static __always_inline __u32 lower_of(const struct xlvs_options *o)
{
	return o->lower ? o->lower : o->upper - (o->upper >> 2);
}

/* Does the server take no new connections?  Costs no second lookup unless it was full once.  The number is on the stack. */
static __always_inline int is_overloaded(const struct xlvs_load *l, const __u32 *server)
{
	__u32 reached = READ_ONCE(l->overloaded);
	const struct xlvs_options *o;

	if (likely(!reached))
		return 0;
	o = bpf_map_lookup_elem(&server_options, server);
	if (!o || !o->upper || o->upper > reached)
		return 0;
	/* Another CPU may have noted the upper threshold late, after the last of its connections had gone. */
	return load_total(l) >= lower_of(o);
}

static __always_inline int server_overloaded(__u32 server)
{
	const struct xlvs_load *l = bpf_map_lookup_elem(&loads, &server);

	return l && is_overloaded(l, &server);
}

/* The same where it is asked many times over: the functions of this name are verified once, on their own. */
__noinline int xlvs_overloaded(__u32 server)
{
	return server_overloaded(server);
}

/* A server with thresholds has a connection more: is it full? */
__noinline int xlvs_fill_up(__u32 server)
{
	struct xlvs_load *l = bpf_map_lookup_elem(&loads, &server);
	const struct xlvs_options *o = bpf_map_lookup_elem(&server_options, &server);

	if (l && o && o->upper && load_total(l) >= o->upper)
		WRITE_ONCE(l->overloaded, o->upper);
	return 0;
}

#endif
