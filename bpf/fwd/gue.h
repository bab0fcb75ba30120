/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gue: Generic UDP Encapsulation (draft-ietf-intarea-gue, version 0), as the
 * kernel's fou module takes it: a UDP datagram to the server's tunnel port, four
 * bytes that name the inner protocol, then the packet.  The source port is drawn
 * from the inner flow, so that routers spread flows over paths and hosts over
 * queues (RFC 8086 §3.1), from the range that IPVS has it from.
 *
 * With remote checksum offload (draft-herbert-remotecsumoffload) eight bytes more
 * say where the inner transport checksum is, which holds the sum of its
 * pseudo-header only: the receiver completes it.  Only a packet that came with
 * such a checksum is sent so, any other like one with a full checksum.
 */
#ifndef XLVS_FWD_GUE_H
#define XLVS_FWD_GUE_H

#include "outer.h"

#define GUE_PORT_LOW	32768	/* the default of net.ipv4.ip_local_port_range */
#define GUE_PORT_HIGH	60999
#define GUE_WORDS	0x1f	/* of the first byte: 32-bit words that follow the first four bytes */
#define GUE_PRIVATE	0x0001	/* flag: private flags follow (include/net/gue.h) */
#define GUE_REMCSUM	0x80000000u	/* private flag: remote checksum offload */

struct gue_header {
	struct udphdr udp;
	__u8	words;		/* and version 0, no control message */
	__u8	protocol;	/* of IP, by its number */
	__be16	flags;
	__be32	private;	/* from here on with remote checksum offload only */
	__be16	start;		/* of what is summed, from the inner packet's beginning */
	__be16	offset;		/* of the checksum's field, likewise */
};

#define GUE_BYTES(remote)	((remote) ? sizeof(struct gue_header) : sizeof(struct gue_header) - 8)

/* Any port of the range, the same for all packets of the flow. */
static __always_inline __be16 gue_source_port(const struct pkt *p)
{
	const __u64 *src = (const void *)&p->src, *dst = (const void *)&p->dst;
	__u64 hash = (src[0] ^ dst[1]) * 0x9e3779b97f4a7c15ull ^ src[1] ^ dst[0] ^ p->ports ^ (__u64)p->proto << 32;

	hash ^= hash >> 29;
	hash *= 0xbf58476d1ce4e5b9ull;
	return htons(GUE_PORT_LOW + ((hash >> 32) * (GUE_PORT_HIGH - GUE_PORT_LOW) >> 32));
}

/* The outer datagram's checksum; *sum* is that of the inner packet.  Zero would say that there is none. */
static __always_inline __u16 gue_check(const struct xlvs_server *s, const __u16 *header, __u32 bytes, __u32 len, __u64 sum)
{
	int v4 = is_v4(&s->addr), i;
	__u16 check;

	for (i = 0; i < (int)sizeof(struct gue_header) / 2 && i * 2u < bytes; i++)
		sum += header[i];
	sum += addr_sum(&s->src, !v4) + addr_sum(&s->addr, !v4) + htons(IPPROTO_UDP) + htons(len);
	check = ~csum_fold(sum);
	return check ? check : 0xffff;
}

/* The headers at *off*; *sum* is the inner packet's. */
static __always_inline int gue_header(ctx_t *ctx, __u32 off, const struct pkt *p, const struct xlvs_server *s, __be16 port,
				      __u32 flags, __u64 sum)
{
	int remote = flags & XLVS_TUNNEL_REMCSUM;
	__u32 bytes = GUE_BYTES(remote), len = p->len + bytes;
	struct gue_header *gue = at(ctx, off, GUE_BYTES(0));

	if (!gue)
		return 0;
	gue->udp.source = gue_source_port(p);
	gue->udp.dest = port;
	gue->udp.len = htons(len);
	gue->udp.check = 0;
	gue->words = remote ? 2 : 0;
	gue->protocol = p->v6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
	gue->flags = remote ? htons(GUE_PRIVATE) : 0;
	if (remote) {
		gue = at(ctx, off, sizeof(*gue));
		if (!gue)
			return 0;
		gue->private = htonl(GUE_REMCSUM);
		gue->start = htons(p->l4 - p->l3);
		gue->offset = htons(l4_check_off(p) - p->l3);
		gue->udp.check = gue_check(s, (void *)gue, sizeof(*gue), len, sum);
	} else if (flags) {
		gue->udp.check = gue_check(s, (void *)gue, GUE_BYTES(0), len, sum);
	}
	return 1;
}

#endif
