/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Unwrap ipip on a real server (TC ingress), for hosts whose kernel has no
 * tunnel device.  The inner packet comes in again on the same interface, which
 * also gives it the right protocol when the families differ.
 *
 * Only packets whose inner destination is one of this server's virtual
 * addresses are unwrapped, so that a host is no open tunnel endpoint; other
 * tunnels of the host are left alone.
 */
#ifndef XLVS_DECAP_H
#define XLVS_DECAP_H

#include "csum.h"

/* Parsing stops at the outer header: 4 (IPv4) or 41 (IPv6) is no transport protocol of ours. */
static __always_inline int decap(ctx_t *ctx)
{
	struct ethhdr *eth;
	struct xlvs_addr inner;
	__u32 room, *flags;
	__u8 proto;

	if (ctx->vlan_present || ctx->pkt_type)
		return PASS;
	if (data_begin(ctx) + HEADERS > data_end(ctx))
		bpf_skb_pull_data(ctx, ctx->len < HEADERS ? ctx->len : HEADERS);
	eth = at(ctx, 0, sizeof(*eth));
	if (!eth)
		return PASS;
	if (eth->h_proto == htons(ETH_P_IP)) {
		struct iphdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));

		if (!ip || ip->version != 4 || ip->ihl != 5 || ip->frag_off & htons(IP_MF | IP_OFFSET))
			return PASS;
		proto = ip->protocol;
		room = sizeof(*ip);
	} else if (eth->h_proto == htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));

		if (!ip || ip->version != 6)
			return PASS;
		proto = ip->nexthdr;
		room = sizeof(*ip);
	} else {
		return PASS;
	}
	if (proto == IPPROTO_IPIP) {
		struct iphdr *ip = at(ctx, ETH_HLEN + room, sizeof(*ip));

		if (!ip || ip->version != 4)
			return PASS;
		set_v4(&inner, ip->daddr);
	} else if (proto == IPPROTO_IPV6) {
		struct ipv6hdr *ip = at(ctx, ETH_HLEN + room, sizeof(*ip));

		if (!ip || ip->version != 6)
			return PASS;
		set_v6(&inner, &ip->daddr);
	} else {
		return PASS;
	}
	flags = bpf_map_lookup_elem(&addrs, &inner);
	if (!flags || !(*flags & XLVS_ADDR_VIP))
		return PASS;
	/* Kernels before 6.3 do not know the flag; without it a small IPv4 packet in IPv6 is refused. */
	if (bpf_skb_adjust_room(ctx, -(int)room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO |
				(proto == IPPROTO_IPIP ? BPF_F_ADJ_ROOM_DECAP_L3_IPV4 : BPF_F_ADJ_ROOM_DECAP_L3_IPV6)) &&
	    bpf_skb_adjust_room(ctx, -(int)room, BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))
		return drop(XLVS_DROP_no_headroom);
	eth = at(ctx, 0, sizeof(*eth));
	if (!eth)
		return drop(XLVS_DROP_no_headroom);
	eth->h_proto = proto == IPPROTO_IPIP ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	count(XLVS_COUNT_decapsulated);
	return bpf_redirect(ctx->ifindex, BPF_F_INGRESS);
}

#endif
