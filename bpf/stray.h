/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies of real servers that are of no connection (TC only): with nat_icmp_send the server is told, as by ip_vs_out(). */
#ifndef XLVS_STRAY_H
#define XLVS_STRAY_H

#include "find.h"
#include "csum.h"
#include "icmp.h"

/* The packet comes from a server behind nat, and is of no flow.  Its number, or XLVS_NO_SERVER. */
static __noinline __u32 stray_of(struct walk *w)
{
	struct xlvs_service_key k = {};
	__u32 *number;

	/* At the end of its TTL it is the host's to say so, as it does before IPVS sees the packet. */
	if (!w || w->p.ttl <= 1 || w->p.related || (w->p.proto == IPPROTO_TCP && w->p.tcp & TCP_RST) ||
	    (w->p.proto == IPPROTO_SCTP && w->p.sctp == SCTP_ABORT))
		return XLVS_NO_SERVER;
	k.addr = w->p.src;
	k.port = w->p.sport;
	k.proto = w->p.proto;
	number = bpf_map_lookup_elem(&nat_servers, &k);
	return number ? *number : XLVS_NO_SERVER;
}

/* Tell the server. */
static __noinline int tell_stray(ctx_t *ctx, struct walk *w)
{
	__u32 number = stray_of(w);
	struct xlvs_server *s = server_at(number);

	if (!w || !s || number == XLVS_NO_SERVER)
		return PASS;
	rewrite_ip(ctx, &w->p, 0, NULL, 1);	/* the quote shows the TTL as counted down, as IPVS does */
	return xlvs_icmp_reply(ctx, &w->p, &s->src, ICMP_WHY(XLVS_DROP_no_flow, ICMP_NO_PORT, 0), 0);
}

#endif
