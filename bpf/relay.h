/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ICMP errors of others that belong to a flow (TC only; RFC 5508 §4.2 for the
 * nat case): an error about a packet of the virtual service goes to the real
 * server that sent it, an error about a packet to a real server goes to the
 * client.  With nat the addresses inside the quote are translated too; the
 * quoted transport checksum is left alone, as IPVS does.
 */
#ifndef XLVS_RELAY_H
#define XLVS_RELAY_H

#include "find.h"
#include "fwd/tunnel.h"
#include "icmp.h"

/*
 * The quoted packet: the ends of its flow, and where it lies.  In the scratch
 * map, in place of a key: the stack does not hold it beside a look for the flow.
 */
struct quote {
	struct key of;
	__u16	l3;
	__u16	l4;
	__u32	related;	/* ESP or AH, which hold no ports */
};

#define QUOTED_PORT(q)	((__be16)((q)->of.ports >> 16))

static __always_inline int is_icmp_error(ctx_t *ctx, const struct pkt *p)
{
	struct icmp_bytes *icmp = at(ctx, p->l4, sizeof(*icmp));

	if (p->frag || p->proto != (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) || !icmp)
		return 0;
	if (p->v6)
		return icmp->type == ICMPV6_DEST_UNREACH || icmp->type == ICMPV6_PKT_TOOBIG || icmp->type == ICMPV6_TIME_EXCEED;
	return icmp->type == ICMP_DEST_UNREACH || icmp->type == ICMP_SOURCE_QUENCH || icmp->type == ICMP_TIME_EXCEEDED;
}

/* Whose packet is quoted, and where it went. */
enum quoted { BY_VIRTUAL, TO_REAL, TO_VIRTUAL };

/* Read the quote, which begins at *l3*. */
static __always_inline int parse_quote(ctx_t *ctx, struct quote *q, __u16 l3, int v6, enum quoted which)
{
	struct key *k = &q->of;
	struct xlvs_addr *src, *dst;
	__be16 *ports;

	k->now = bpf_jiffies64();
	k->v6 = v6;
	k->reply = which == TO_REAL;
	src = which == BY_VIRTUAL ? &k->other : &k->client;
	dst = which == BY_VIRTUAL ? &k->client : &k->other;
	q->l3 = l3;
	if (v6) {
		struct ipv6hdr *ip = at(ctx, l3, sizeof(*ip));

		if (!ip || ip->version != 6)
			return 0;
		set_v6(src, &ip->saddr);
		set_v6(dst, &ip->daddr);
		k->proto = ip->nexthdr;
		q->l4 = l3 + sizeof(*ip);
	} else {
		struct iphdr *ip = at(ctx, l3, sizeof(*ip));

		if (!ip || ip->version != 4 || ip->ihl < 5 || ip->frag_off & htons(IP_OFFSET))
			return 0;
		set_v4(src, ip->saddr);
		set_v4(dst, ip->daddr);
		k->proto = ip->protocol;
		q->l4 = l3 + ip->ihl * 4;
	}
	q->related = k->proto == IPPROTO_ESP || k->proto == IPPROTO_AH;
	if (unlikely(q->related)) {
		k->proto = IPPROTO_UDP;
		k->ports = htons(PORT_ISAKMP) * 0x10001u;
		return 1;
	}
	ports = at(ctx, q->l4, 4);
	if (!ports || (k->proto != IPPROTO_TCP && k->proto != IPPROTO_UDP && k->proto != IPPROTO_SCTP))
		return 0;
	k->ports = ports[which == BY_VIRTUAL ? 1 : 0] | (__u32)ports[which == BY_VIRTUAL ? 0 : 1] << 16;
	return 1;
}

/* Give the quote and the error itself another end: its source on the way to the server, else its destination. */
static __always_inline int translate(ctx_t *ctx, struct pkt *p, const struct quote *q, int to_server,
				     const struct xlvs_addr *addr, __be16 port)
{
	const struct xlvs_addr *old = &q->of.other, *outer = to_server ? &p->dst : &p->src;
	__be32 from = QUOTED_PORT(q), to = q->related ? QUOTED_PORT(q) : port;
	__s64 diff = bpf_csum_diff(&from, 4, &to, 4, 0);
	__be16 *ports;

	if (p->v6) {
		/* The quoted address, and the error's own in the pseudo-header. */
		diff = bpf_csum_diff(old, 16, addr, 16, diff);
		diff = bpf_csum_diff(outer, 16, addr, 16, diff);
	}
	if (bpf_l4_csum_replace(ctx, p->l4 + __builtin_offsetof(struct icmp_bytes, check), 0, diff, 0))
		return 0;
	ports = at(ctx, q->l4, 4);
	if (!ports)
		return 0;
	if (!q->related)
		ports[to_server ? 0 : 1] = port;
	if (p->v6) {
		struct ipv6hdr *ip = at(ctx, q->l3, sizeof(*ip));

		if (!ip)
			return 0;
		memcpy(to_server ? &ip->saddr : &ip->daddr, addr, sizeof(*addr));
	} else {
		struct iphdr *ip = at(ctx, q->l3, sizeof(*ip));

		if (!ip)
			return 0;
		ip->check = csum_replace(ip->check, old->w[3], addr->w[3]);
		if (to_server)
			ip->saddr = addr->w[3];
		else
			ip->daddr = addr->w[3];
	}
	if (!rewrite_ip(ctx, p, !to_server, addr, 1))
		return 0;
	if (to_server)
		p->dst = *addr;
	else
		p->src = *addr;
	return 1;
}

/* Find the flow that the error is about. */
static __noinline int quoted_find(ctx_t *ctx, struct walk *w, int to_server)
{
	struct quote *q = scratch_at(KEY_AT);

	if (!w || !q)
		return 0;
	return parse_quote(ctx, q, w->p.l4 + ICMP_HEADER, w->p.v6, to_server ? BY_VIRTUAL : TO_REAL) && flow_seek(&w->found, &q->of);
}

static __always_inline int relay_leave(ctx_t *ctx, struct hop *hop)
{
	count(XLVS_COUNT_icmp_relayed);
	return hop_leave(ctx, hop);
}

/* An error a client or a router sent to a virtual address, about a packet of the walk's flow. */
static __noinline int relay_to_server(ctx_t *ctx, struct walk *w)
{
	struct pkt *p = &w->p;
	struct xlvs_server *s;
	struct quote *q = scratch_at(KEY_AT);
	__u8 fwd;

	if (!w || !q || !w->found.flow)
		return PASS;
	s = server_at(WORD_SERVER(w->found.word));
	if (!s || !server_lives(s))
		return drop(XLVS_DROP_server_gone);
	if (p->ttl <= 1)
		return drop(XLVS_DROP_ttl);
	fwd = WORD_FWD(w->found.word);
	if (fwd >= XLVS_FWD_ipip)
		hop_find(ctx, p, &w->hop, &s->src, &s->addr,
			 TUNNEL_ROOM(xlvs_tunnel_room(ctx, p, WORD_SERVER(w->found.word), fwd)));
	else
		hop_find(ctx, p, &w->hop, &p->src, &s->addr, 0);
	if (!hop_usable(&w->hop))
		return hop_drop(&w->hop);
	flow_count(&w->found, p, s->service, 0);
	if (fwd == XLVS_FWD_nat) {
		if (!translate(ctx, p, q, 1, &s->addr, real_port(s, QUOTED_PORT(q))))
			return drop(XLVS_DROP_no_headroom);
	} else if (fwd >= XLVS_FWD_ipip) {
		if (!tunnel_to_server(ctx, p, WORD_SERVER(w->found.word), fwd, 0))
			return drop(XLVS_DROP_no_headroom);
	} else if (!age(ctx, p, 1)) {
		return drop(XLVS_DROP_no_headroom);
	}
	return relay_leave(ctx, &w->hop);
}

/* An error about a packet that nat sent to a real server: from the server, or from a router before it. */
static __noinline int relay_to_client(ctx_t *ctx, struct walk *w)
{
	struct pkt *p = &w->p;
	struct xlvs_server *s;
	struct quote *q = scratch_at(KEY_AT);
	const struct xlvs_addr *virt;

	if (!w || !q || !w->found.flow || WORD_FWD(w->found.word) != XLVS_FWD_nat)
		return PASS;
	if (p->ttl <= 1)
		return drop(XLVS_DROP_ttl);
	s = server_at(WORD_SERVER(w->found.word));
	if (!s)
		return PASS;
	virt = virtual_end(w, s);
	if (!virt)
		return drop(XLVS_DROP_busy);
	hop_find(ctx, p, &w->hop, virt, &p->dst, 0);
	if (WORD_LOCAL(w->found.word))
		w->hop.rc = BPF_FIB_LKUP_RET_SUCCESS;
	if (!hop_usable(&w->hop))
		return hop_drop(&w->hop);
	flow_count(&w->found, p, s->service, 1);
	if (!translate(ctx, p, q, 0, virt, virtual_port(w, s) ? virtual_port(w, s) : QUOTED_PORT(q)))
		return drop(XLVS_DROP_no_headroom);
	if (WORD_LOCAL(w->found.word))
		return to_local_client(ctx);
	return relay_leave(ctx, &w->hop);
}

#endif
