/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unwrap ipip, gue and gre on a real server (TC ingress), for hosts whose
 * kernel has no tunnel device.  The inner packet comes in again on the same interface, which
 * also gives it the right protocol when the families differ.
 *
 * Only packets whose inner destination is one of this server's virtual
 * addresses are unwrapped, so that a host is no open tunnel endpoint; other
 * tunnels of the host are left alone.  gue is known by its UDP port, which is
 * remembered with the address.  A checksum in the outer header is not looked
 * at: the inner packet has its own.  Fragments of a tunnel packet are gathered.
 */
#ifndef XLVS_DECAP_H
#define XLVS_DECAP_H

#include "tunnelled.h"
#include "gather.h"

/* Complete the checksum that the sender left to us. */
static __always_inline int decap_checksum(ctx_t *ctx, const struct tunnelled *t)
{
	__u32 from = ETH_HLEN + t->start;
	__u16 check;

	if (from >= ctx->len || t->offset < t->start)
		return 0;
	check = ~xlvs_sum(ctx, from, ctx->len - from);
	if (!check)
		check = 0xffff;
	return !bpf_skb_store_bytes(ctx, ETH_HLEN + t->offset, &check, sizeof(check), BPF_F_RECOMPUTE_CSUM);
}

/* A later fragment of the outer packet. */
static __always_inline int is_later(ctx_t *ctx)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct iphdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));

	return eth && ip && eth->h_proto == htons(ETH_P_IP) && ip->frag_off & htons(IP_OFFSET);
}

/* Parsing stops at the outer header: 4 (IPv4) or 41 (IPv6) is no transport protocol of ours. */
static __always_inline int decap(ctx_t *ctx)
{
	struct tunnelled t = {};
	struct xlvs_addr inner;
	struct ethhdr *eth;
	__u32 *flags;

	if (ctx->vlan_present || ctx->pkt_type)
		return PASS;
	pull_headers(ctx);
	if (is_later(ctx)) {
		int end = gather_later(ctx);

		if (end)
			return ~end;
		pull_headers(ctx);
	}
	eth = at(ctx, 0, sizeof(*eth));
	if (!eth || (eth->h_proto != htons(ETH_P_IP) && eth->h_proto != htons(ETH_P_IPV6)) ||
	    !read_tunnel(ctx, ETH_HLEN, eth->h_proto == htons(ETH_P_IPV6), &t))
		return PASS;
	if (t.proto == IPPROTO_IPIP) {
		struct iphdr *ip = at(ctx, ETH_HLEN + t.room, sizeof(*ip));

		if (!ip || ip->version != 4)
			return PASS;
		set_v4(&inner, ip->daddr);
	} else {
		struct ipv6hdr *ip = at(ctx, ETH_HLEN + t.room, sizeof(*ip));

		if (!ip || ip->version != 6)
			return PASS;
		set_v6(&inner, &ip->daddr);
	}
	flags = bpf_map_lookup_elem(&addrs, &inner);
	if (!flags || !(*flags & XLVS_ADDR_VIP) || (t.port && ntohs(t.port) != *flags >> XLVS_ADDR_PORT_SHIFT))
		return PASS;
	if (t.is_part)
		return gather_first(ctx);
	/* Kernels before 6.3 do not know the flag; without it a small IPv4 packet in IPv6 is refused. */
	if (bpf_skb_adjust_room(ctx, -(int)t.room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO |
				(t.proto == IPPROTO_IPIP ? BPF_F_ADJ_ROOM_DECAP_L3_IPV4 : BPF_F_ADJ_ROOM_DECAP_L3_IPV6)) &&
	    bpf_skb_adjust_room(ctx, -(int)t.room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return drop(XLVS_DROP_no_headroom);
	if (t.start && !decap_checksum(ctx, &t))
		return drop(XLVS_DROP_no_headroom);
	eth = at(ctx, 0, sizeof(*eth));
	if (!eth)
		return drop(XLVS_DROP_no_headroom);
	eth->h_proto = t.proto == IPPROTO_IPIP ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	count(XLVS_COUNT_decapsulated);
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

#endif
