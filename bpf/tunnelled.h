/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading what a tunnel of any kind put before a packet: on the real server, and in an ICMP error about it. */
#ifndef XLVS_TUNNELLED_H
#define XLVS_TUNNELLED_H

#include "fwd/tunnel.h"

/* What is between the outer IP header and the packet. */
struct tunnelled {
	__u32	room;		/* bytes before the packet, the outer IP header's among them */
	__u8	proto;		/* what it is: IPPROTO_IPIP or IPPROTO_IPV6 */
	__u8	fwd;		/* the method: XLVS_FWD_* */
	__u8	is_part;	/* more fragments of the outer packet follow */
	__be16	port;		/* gue: where it came in */
	__u16	start;		/* remote checksum offload: what is to be summed, and where the sum goes; 0: nothing */
	__u16	offset;
};

static __always_inline int read_gre(ctx_t *ctx, __u32 off, struct tunnelled *t)
{
	struct gre_header *gre = at(ctx, off + t->room, GRE_BYTES(0));

	if (!gre || gre->flags & ~htons(GRE_CSUM))
		return 0;
	if (gre->protocol == htons(ETH_P_IP))
		t->proto = IPPROTO_IPIP;
	else if (gre->protocol == htons(ETH_P_IPV6))
		t->proto = IPPROTO_IPV6;
	else
		return 0;
	t->fwd = XLVS_FWD_gre;
	t->room += GRE_BYTES(gre->flags);
	return 1;
}

static __always_inline int read_gue(ctx_t *ctx, __u32 off, struct tunnelled *t)
{
	struct gue_header *gue = at(ctx, off + t->room, GUE_BYTES(0));
	int remote;

	if (!gue)
		return 0;
	t->proto = gue->protocol;
	t->port = gue->udp.dest;
	remote = gue->words == 2;
	if (gue->words && (!remote || gue->flags != htons(GUE_PRIVATE)))
		return 0;
	if (remote) {
		gue = at(ctx, off + t->room, sizeof(*gue));
		if (!gue || gue->private != htonl(GUE_REMCSUM))
			return 0;
		t->start = ntohs(gue->start);
		t->offset = ntohs(gue->offset);
	}
	t->fwd = XLVS_FWD_gue;
	t->room += GUE_BYTES(remote);
	return t->proto == IPPROTO_IPIP || t->proto == IPPROTO_IPV6;
}

/* The outer headers, from *off* on; false: they are none of a tunnel that we know. */
static __always_inline int read_tunnel(ctx_t *ctx, __u32 off, int v6, struct tunnelled *t)
{
	if (v6) {
		struct ipv6hdr *ip = at(ctx, off, sizeof(*ip));

		if (!ip || ip->version != 6)
			return 0;
		t->proto = ip->nexthdr;
		t->room = sizeof(*ip);
	} else {
		struct iphdr *ip = at(ctx, off, sizeof(*ip));

		if (!ip || ip->version != 4 || ip->ihl != 5 || ip->frag_off & htons(IP_OFFSET))
			return 0;
		t->is_part = !!(ip->frag_off & htons(IP_MF));
		t->proto = ip->protocol;
		t->room = sizeof(*ip);
	}
	t->fwd = XLVS_FWD_ipip;
	if (t->proto == IPPROTO_GRE)
		return read_gre(ctx, off, t);
	if (t->proto == IPPROTO_UDP)
		return read_gue(ctx, off, t);
	return t->proto == IPPROTO_IPIP || t->proto == IPPROTO_IPV6;
}

#endif
