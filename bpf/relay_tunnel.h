/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ICMP errors about packets that the director tunnelled (TC only), from a router on the way or from the real server:
 * the client is told the same of its own packet, which is quoted within, in the name of the virtual address
 * (ip_vs_in_icmp in net/netfilter/ipvs/ip_vs_core.c).  IPVS does so where both headers are IPv4; we do for all mixes,
 * as RFC 2473 §8 has it.
 */
#ifndef XLVS_RELAY_TUNNEL_H
#define XLVS_RELAY_TUNNEL_H

#include "relay.h"
#include "tunnelled.h"

#define ICMP_HOST_UNREACH	1
#define ICMPV6_ADDR_UNREACH	3
#define MIN_MTU_V4		68
#define MIN_MTU_V6		1280

/* Find the flow whose packet is quoted within a quoted tunnel packet, and see that this is how its server gets them. */
static __noinline int tunnelled_find(ctx_t *ctx, struct walk *w)
{
	__u32 off = w ? w->p.l4 + ICMP_HEADER : 0;
	struct quote *q = scratch_at(KEY_AT);
	struct tunnelled t = {};
	struct xlvs_options *o;
	struct xlvs_server *s;
	__u32 *to;

	if (!w || !q || !read_tunnel(ctx, off, w->p.v6, &t))
		return 0;
	if (!parse_quote(ctx, q, off + t.room, t.proto == IPPROTO_IPV6, TO_VIRTUAL) || !flow_seek(&w->found, &q->of))
		return 0;
	s = server_at(WORD_SERVER(w->found.word));
	o = options_at(WORD_SERVER(w->found.word));
	if (!s || !o || WORD_FWD(w->found.word) != t.fwd || (t.fwd == XLVS_FWD_gue && o->tunnel_port != t.port))
		return 0;
	/* Both headers end with where the packet went; its last word tells servers apart that share all of the above. */
	to = at(ctx, off + (w->p.v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr)) - sizeof(*to), sizeof(*to));
	return to && *to == s->addr.w[3];
}

/* What the client is told of its own packet; false: nothing, as it lets its packets be cut. */
static __always_inline int retell(ctx_t *ctx, const struct pkt *p, const struct quote *q, struct icmp_bytes *icmp)
{
	__u32 room = q->l3 - p->l4 - ICMP_HEADER, mtu, least = q->of.v6 ? MIN_MTU_V6 : MIN_MTU_V4;
	struct iphdr *ip = at(ctx, q->l3, sizeof(*ip));
	struct icmp_bytes *is = at(ctx, p->l4, sizeof(*is));

	if (!is || !ip)
		return 0;
	if (p->v6 ? is->type == ICMPV6_PKT_TOOBIG : is->type == ICMP_DEST_UNREACH && is->code == ICMP_FRAG_NEEDED) {
		mtu = p->v6 && is->unused ? 0xffff : ntohs(is->mtu);
		icmp_code(icmp, q->of.v6, ICMP_TOO_BIG, mtu > least + room ? mtu - room : q->of.v6 ? least : mtu);
		return q->of.v6 || ip->frag_off & htons(IP_DF);
	}
	memset(icmp, 0, sizeof(*icmp));
	if (p->v6 != q->of.v6) {
		icmp->type = q->of.v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
		icmp->code = q->of.v6 ? ICMPV6_ADDR_UNREACH : ICMP_HOST_UNREACH;
		return 1;
	}
	icmp->type = is->type;
	icmp->code = is->code;
	icmp->unused = is->unused;
	icmp->mtu = is->mtu;
	return 1;
}

/* Cut the error down to the client's packet; what is before that will be *head* bytes. */
static __always_inline int strip(ctx_t *ctx, __u32 l3, __u32 head, __u32 quote, int v6)
{
	int shorter = l3 - ETH_HLEN - head;
	struct ethhdr *eth;

	if (bpf_skb_change_tail(ctx, l3 + quote, 0))
		return 0;
	if (shorter && bpf_skb_adjust_room(ctx, -shorter, BPF_ADJ_ROOM_MAC, 0))
		return 0;
	eth = at(ctx, 0, sizeof(*eth));
	if (!eth)
		return 0;
	eth->h_proto = v6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	return 1;
}

/* Tell the client; from here on the walk's packet is the one that is sent. */
static __noinline int relay_tunnel(ctx_t *ctx, struct walk *w)
{
	struct xlvs_scratch *s = scratch_at(0);
	struct quote *q = scratch_at(KEY_AT);
	struct xlvs_server *server;
	struct icmp_bytes icmp;
	__u32 quote, head, l3;
	struct pkt *p;

	if (!w || !q || !s || !w->found.flow)
		return PASS;
	p = &w->p;
	server = server_at(WORD_SERVER(w->found.word));
	if (!server || !retell(ctx, p, q, &icmp))
		return PASS;
	if (!icmp_allowed(s))
		return drop(XLVS_DROP_icmp_limit);
	l3 = q->l3;
	quote = p->len - (l3 - p->l3);
	p->v6 = q->of.v6;
	p->src = q->of.client;
	p->dst = q->of.other;
	p->ports = 0;
	p->proto = p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	head = sizeof(icmp) + (p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (quote > (p->v6 ? XLVS_QUOTE_V6 : XLVS_QUOTE_V4))
		quote = p->v6 ? XLVS_QUOTE_V6 : XLVS_QUOTE_V4;
	if (!strip(ctx, l3, head, quote, p->v6))
		return drop(XLVS_DROP_no_headroom);
	if (!load_quote(ctx, s, ETH_HLEN + head, quote))
		return drop(XLVS_DROP_no_headroom);
	p->tos = s->bytes[1];
	p->len = head + quote;
	if (!icmp_headers(ctx, p, &p->dst, &icmp, scratch_sum(s), quote))
		return drop(XLVS_DROP_no_headroom);
	/* Only now: what the routing table says lies where the quote was. */
	hop_find(ctx, p, &w->hop, &p->dst, &p->src, 0);
	flow_count(&w->found, p, server->service, 1);
	if (!hop_usable(&w->hop))
		return hop_drop(&w->hop);
	return relay_leave(ctx, &w->hop);
}

#endif
