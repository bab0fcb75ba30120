/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The outer IP header of every tunnel, as IPVS writes it (ip_vs_tunnel_xmit):
 * from the director's address to the server's, TTL and TOS of the inner packet
 * after it was counted down, congestion experienced not copied (RFC 6040 §4.1,
 * normal mode), DF of an inner IPv4 while pmtu_disc is on, no flow label.
 */
#ifndef XLVS_FWD_OUTER_H
#define XLVS_FWD_OUTER_H

#include "../hop.h"

#define ECN_MASK	3
#define ECN_CE		3
#define ECN_ECT0	2

static __always_inline __u32 outer_room(const struct xlvs_server *s)
{
	return is_v4(&s->addr) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

static __always_inline __u8 outer_tos(__u8 tos)
{
	return (tos & ECN_MASK) == ECN_CE ? (tos & ~ECN_MASK) | ECN_ECT0 : tos;
}

/*
 * Make *room* bytes between the Ethernet header, whose every field is written later, and the packet: for an outer header
 * of IPv4 or IPv6, and what *l4* (BPF_F_ADJ_ROOM_ENCAP_L4_*, or 0) says follows it.
 */
static __always_inline int make_room(ctx_t *ctx, __u32 room, int v4, __u64 l4)
{
#ifdef XLVS_XDP
	(void)v4;
	(void)l4;
	return !bpf_xdp_adjust_head(ctx, -(int)room);
#else
	/* Every segment of a GSO packet gets the outer header; hop_find has judged the segments' size. */
	return !bpf_skb_adjust_room(ctx, room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO | l4 |
		(v4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6));
#endif
}

/* *proto* is what follows, *more* bytes of it before the inner packet; *ttl* is the outer one. */
static __always_inline int outer_v4(ctx_t *ctx, const struct pkt *p, const struct xlvs_server *s, __u8 proto, __u32 more, __u8 ttl)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct iphdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));
	int df = p->df && !p->v6 && is_on(XLVS_SYSCTL_PMTU_DISC);
	/* Halfwords, as the checksum adds them up. */
	__u16 version_tos = htons(0x4500 | outer_tos(p->tos)), len = htons(p->len + more + sizeof(*ip));
	__u16 id = df ? 0 : bpf_get_prandom_u32(), frag_off = df ? htons(IP_DF) : 0;
	__u16 ttl_proto = ttl | proto << 8;

	if (!eth || !ip)
		return 0;
	eth->h_proto = htons(ETH_P_IP);
	*(__u16 *)ip = version_tos;
	ip->tot_len = len;
	ip->id = id;
	ip->frag_off = frag_off;
	*(__u16 *)&ip->ttl = ttl_proto;
	ip->check = ~csum_fold((__u64)version_tos + len + id + frag_off + ttl_proto + s->src.w[3] + s->addr.w[3]);
	ip->saddr = s->src.w[3];
	ip->daddr = s->addr.w[3];
	return 1;
}

static __always_inline int outer_v6(ctx_t *ctx, const struct pkt *p, const struct xlvs_server *s, __u8 proto, __u32 more)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct ipv6hdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));

	if (!eth || !ip)
		return 0;
	eth->h_proto = htons(ETH_P_IPV6);
	*(__be32 *)ip = htonl(6u << 28 | (__u32)outer_tos(p->tos) << 20);
	ip->payload_len = htons(p->len + more);
	ip->nexthdr = proto;
	ip->hop_limit = p->ttl;
	memcpy(&ip->saddr, &s->src, sizeof(ip->saddr));
	memcpy(&ip->daddr, &s->addr, sizeof(ip->daddr));
	return 1;
}

#endif
