/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The walk of a packet, top to bottom:
 *
 *	parse -> prefilter -> flow -> service -> schedule -> hop -> forward
 *
 * XDP and TC compile the same walk.  XDP never changes a packet it cannot send:
 * it leaves it to TC (`punt`), after at most opening its flow, which TC then
 * finds.
 */
#ifndef XLVS_WALK_H
#define XLVS_WALK_H

#include "match.h"
#include "ftp.h"
#include "sip.h"
#include "orphan.h"
#include "fwd/nat.h"
#include "fwd/route.h"
#include "fwd/ipip.h"
#include "fwd/tunnel.h"
#ifndef XLVS_XDP
#include "icmp.h"
#include "stray.h"
#endif
#include "special.h"

/* Only frames for this host: a bridge port, or a second hook, must not balance what another will. */
static __always_inline int is_ours(ctx_t *ctx, int *heal)
{
#ifdef XLVS_XDP
	struct xlvs_interface *i = interface_of(hook_ifindex(ctx));
	struct ethhdr *eth = data_begin(ctx);
	__u16 *to = (void *)eth->h_dest, *mac;

	if (!i || (void *)(eth + 1) > data_end(ctx))
		return 0;
	*heal = !!(i->flags & XLVS_IF_HEAL);
	mac = (void *)i->mac;
	return to[0] == mac[0] && to[1] == mac[1] && to[2] == mac[2];
#else
	*heal = 0;
	return ctx->pkt_type == 0;	/* PACKET_HOST */
#endif
}

#ifdef XLVS_XDP
static __always_inline int punt(void)
{
	count(XLVS_COUNT_xdp_punted);
	return PASS;
}
#endif

/* Count the packet, with its flow or without. */
static __always_inline void account(struct walk *w, const struct xlvs_server *s, int reply)
{
	struct xlvs_stats *st;

	if (w->found.flow) {
		flow_step(&w->found, &w->p, reply);
		flow_touch(w->found.flow, w->now);
		flow_count(&w->found, &w->p, s->service, reply);
		return;
	}
	count(XLVS_COUNT_stateless);
	st = stats_of(&server_stats, CHOICE_NUMBER(w->server));
	if (reply)
		account_out(st, w->p.len);
	else
		account_in(st, w->p.len);
	st = stats_of(&service_stats, s->service);
	if (reply)
		account_out(st, w->p.len);
	else
		account_in(st, w->p.len);
}

/* The server must answer the director, not the virtual address that it owns itself. */
static __always_inline int is_masked(int local, __u8 fwd)
{
	return local && fwd != XLVS_FWD_nat;
}

#ifndef XLVS_XDP
/* The real server is the director itself: its own address is the one from which it would be reached. */
static __always_inline int is_here(const struct hop *hop, const struct xlvs_server *s)
{
	return hop->rc == BPF_FIB_LKUP_RET_NOT_FWDED && same_addr(&s->src, &s->addr);
}

/* A packet that is too big for its way may be cut up by the host's stack. */
static __always_inline int may_be_cut(const struct pkt *p, const struct xlvs_server *s, __u8 fwd, int local)
{
	struct xlvs_config *c = the_config();

	if (local || p->v6 || fwd == XLVS_FWD_route)
		return 0;
	if (fwd == XLVS_FWD_nat)
		return !p->df;
	return is_v4(&s->addr) && c && c->lo && (!p->df || !is_on(XLVS_SYSCTL_PMTU_DISC));
}

/* A GSO packet cannot be wrapped as it is: its segments come in again, at the segmenter's other end.  0: there is none. */
static __noinline int to_segmenter(ctx_t *ctx)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct xlvs_config *c = the_config();
	int been = 1, i;

	if (!eth || !c || !c->segmenter || !is_gso(ctx))
		return 0;
	for (i = 0; i < ETH_ALEN; i++) {
		__u8 byte = XLVS_SEGMENTER_MAC >> (ETH_ALEN - 1 - i) * 8;

		been &= eth->h_dest[i] == byte;
		eth->h_dest[i] = byte;
	}
	return been ? 0 : bpf_redirect(c->segmenter, 0);
}

/*
 * To the host's own stack: for it to cut up the packet, or because it is the real server.  It counts the TTL down if it
 * sends the packet on.
 */
static __noinline int to_stack(ctx_t *ctx, struct walk *w, const struct xlvs_server *s, __u32 fwd)
{
	if (!w || !s)
		return PASS;
	count(COUNT_FORWARDED);
	if (fwd == XLVS_FWD_nat)
		return nat_to_server(ctx, &w->p, s, 0) ? PASS : drop(XLVS_DROP_no_headroom);
	if (w->hop.rc != BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return PASS;
	/* Up the loopback, which alone takes packets from the host's own addresses. */
	return tunnel_to_server(ctx, &w->p, w->server, fwd, 1) ? to_local_client(ctx) : drop(XLVS_DROP_no_headroom);
}
#endif

/* Find the way to the server; a negative result is the verdict's complement: the packet ends here. */
static __always_inline int find_way(ctx_t *ctx, struct walk *w, const struct xlvs_server *s, __u8 fwd, int local)
{
	__u32 room = fwd < XLVS_FWD_ipip ? 0 : fwd == XLVS_FWD_ipip ? outer_room(s) : xlvs_tunnel_room(ctx, &w->p, w->server, fwd);
	int by_own = room || is_masked(local, fwd), is_summed = room & TUNNEL_SUMMED;

	room = TUNNEL_ROOM(room);
	if (by_own && no_addr(&s->src))
		return ~drop(XLVS_DROP_no_source);
	if (is_masked(local, fwd) && is_v4(&s->src) == w->p.v6)
		return ~drop(XLVS_DROP_no_source);
	if (local)			/* too few to remember for, and the stack is full */
		hop_find(ctx, &w->p, &w->hop, by_own ? &s->src : &w->p.src, &s->addr, room);
	else
		hop_for(ctx, w, 0, by_own ? &s->src : &w->p.src, &s->addr, room);
#ifdef XLVS_XDP
	return w->p.ttl <= 1 || !hop_usable(&w->hop) || is_summed ? ~punt() : 0;
#else
	if (unlikely(is_here(&w->hop, s)))
		return 0;
	if (w->p.ttl <= 1)
		return ~xlvs_icmp_reply(ctx, &w->p, &w->p.dst, ICMP_WHY(XLVS_DROP_ttl, ICMP_TTL_EXCEEDED, local), 0);
	if (w->hop.rc == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		if (may_be_cut(&w->p, s, fwd, local))
			return 0;
		rewrite_ip(ctx, &w->p, 0, NULL, 1);	/* the quote shows the TTL as counted down, as IPVS does */
		return ~xlvs_icmp_reply(ctx, &w->p, &w->p.dst, ICMP_WHY(XLVS_DROP_too_big, ICMP_TOO_BIG, local),
				   w->hop.mtu - room);
	}
	if (!hop_usable(&w->hop))
		return ~hop_drop(&w->hop);
	if (unlikely(is_summed || (room && is_list(ctx))) && is_gso(ctx)) {
		int sent = to_segmenter(ctx);

		return sent ? ~sent : 0;
	}
	return 0;
#endif
}

/* To the real server. */
static __always_inline int to_server(ctx_t *ctx, struct walk *w, const struct xlvs_server *s, int local)
{
	__u8 fwd = w->found.flow ? WORD_FWD(w->found.word) : CHOICE_FWD(w->server);
	int end, ok;

	if (!server_lives(s))
		return drop(XLVS_DROP_server_gone);
	end = find_way(ctx, w, s, fwd, local);
	if (end)
		return ~end;
	account(w, s, 0);
#ifndef XLVS_XDP
	if (w->hop.rc == BPF_FIB_LKUP_RET_FRAG_NEEDED || w->hop.rc == BPF_FIB_LKUP_RET_NOT_FWDED)
		return to_stack(ctx, w, s, fwd);
	if (is_masked(local, fwd) && !rewrite(ctx, &w->p, 1, &s->src, w->p.sport, 0))
		return drop(XLVS_DROP_no_headroom);
#endif
	if (fwd == XLVS_FWD_nat)
		ok = nat_to_server(ctx, &w->p, s, 1);
	else if (fwd == XLVS_FWD_ipip)
		ok = ipip_to_server(ctx, &w->p, s);
	else if (fwd == XLVS_FWD_route)
		ok = route_to_server(ctx, &w->p);
	else
		ok = tunnel_to_server(ctx, &w->p, w->server, fwd, 0);
	if (!ok)
		return drop(XLVS_DROP_no_headroom);
	count(local ? XLVS_COUNT_local_forwarded : COUNT_FORWARDED);
	return hop_leave(ctx, &w->hop);
}

#ifndef XLVS_XDP
/* A reply to a client on the director itself. */
static __always_inline int to_local(ctx_t *ctx, struct walk *w, const struct xlvs_server *s)
{
	const struct xlvs_addr *virt = virtual_end(w, s);
	struct xlvs_addr client;
	int ok;

	flow_client(w->found.flow, w->found.flow6, &client);
	if (!virt || !is_still(&w->found, AFTER(client.w[3])))
		return drop(XLVS_DROP_busy);
	account(w, s, 1);
	if (WORD_FWD(w->found.word) == XLVS_FWD_nat)
		ok = nat_to_client(ctx, &w->p, virt, virtual_port(w, s), 0);
	else
		ok = rewrite(ctx, &w->p, 0, &client, w->p.dport, 0);
	return ok ? to_local_client(ctx) : drop(XLVS_DROP_no_headroom);
}
#endif

/* A reply of a real server behind nat. */
static __always_inline int to_client(ctx_t *ctx, struct walk *w, struct xlvs_server *s)
{
	const struct xlvs_addr *virt;

	if (w->found.flow && WORD_LOCAL(w->found.word)) {
#ifdef XLVS_XDP
		return punt();
#else
		return to_local(ctx, w, s);
#endif
	}
	virt = virtual_end(w, s);
	if (!virt)
		return drop(XLVS_DROP_busy);
	hop_for(ctx, w, 1, virt, &w->p.dst, 0);
#ifdef XLVS_XDP
	if (w->p.ttl <= 1 || !hop_usable(&w->hop))
		return punt();
#else
	if (w->p.ttl <= 1)
		return xlvs_icmp_reply(ctx, &w->p, &s->src, ICMP_WHY(XLVS_DROP_ttl, ICMP_TTL_EXCEEDED, 0), 0);
	if (w->hop.rc == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		if (may_be_cut(&w->p, s, XLVS_FWD_nat, 0)) {
			account(w, s, 1);
			count(COUNT_FORWARDED);
			return nat_to_client(ctx, &w->p, virt, virtual_port(w, s), 0) ? to_local_client(ctx) : drop(XLVS_DROP_no_headroom);
		}
		rewrite_ip(ctx, &w->p, 0, NULL, 1);
		return xlvs_icmp_reply(ctx, &w->p, &s->src, ICMP_WHY(XLVS_DROP_too_big, ICMP_TOO_BIG, 0), w->hop.mtu);
	}
	if (!hop_usable(&w->hop))
		return hop_drop(&w->hop);
#endif
	account(w, s, 1);
	if (!nat_to_client(ctx, &w->p, virt, virtual_port(w, s), 1))
		return drop(XLVS_DROP_no_headroom);
	count(COUNT_FORWARDED);
	return hop_leave(ctx, &w->hop);
}

static __always_inline int walk(ctx_t *ctx, int local, int marked)
{
	struct xlvs_server *s;
	struct walk w;		/* not cleared: every part is written before it is read */
	__u32 to, from;
	enum way way;
	int heal = 0;

	if ((!local && !marked && !is_ours(ctx, &heal)) || !xlvs_parse(ctx, &w.p))
		return PASS;
	w.p.heal = heal;
	w.local = local;
	w.mark = 0;
#ifdef XLVS_XDP
	(void)marked;
	if (w.p.frag || (w.p.proto != IPPROTO_TCP && w.p.proto != IPPROTO_UDP))
		return PASS;
#else
	int verdict;

	if (local || marked)
		w.mark = ctx->mark;
	if (is_special(ctx, &w, local, marked, &verdict))
		return verdict;
#endif
	to = marked ? XLVS_ADDR_VIP | XLVS_ADDR_FTP : addr_hint(&w.p.dst);
	if (has_matches() && !w.mark) {
		w.mark = xlvs_match_mark(&w);
		if (w.mark)
			to |= XLVS_ADDR_VIP | XLVS_ADDR_FTP;
	}
	from = to & XLVS_ADDR_VIP ? 0 : addr_hint(&w.p.src);
	if (!(to & XLVS_ADDR_VIP) && !from)
		return PASS;
	w.now = bpf_jiffies64();
	way = find(&w, to, from, local);
	if (way == TO_SERVER && unlikely(is_on(XLVS_SYSCTL_EXPIRE_NODEST)) && is_orphan(&w))
		way = NO_WAY;
	if (unlikely(way == NO_WAY)) {
		if (!marked)
			hand_over(ctx, &w.p, local);
#ifndef XLVS_XDP
		if (has_engines() && w.p.proto == IPPROTO_UDP && to & XLVS_ADDR_VIP)
			xlvs_sip_read(ctx, &w.p, w.mark);
#endif
		if (to & XLVS_ADDR_VIP && !awaits_mark(&w, local, marked))
			way = begin(&w, to);
	}
	if (way == AGAIN)
		return drop(XLVS_DROP_busy);
	if (way == TURNED_AWAY)
		return drop(XLVS_DROP_defence);
	if (way == UNHEARD)
		return drop(XLVS_DROP_no_call);
#ifndef XLVS_XDP
	if (unlikely(way == NO_WAY) && from && !local && has_engines() && sip_out(&w)) {
		sip_begin(ctx, &w);
		way = TO_CLIENT;
	}
	if (unlikely(way == NO_WAY) && from && !local && is_on(XLVS_SYSCTL_NAT_ICMP_SEND))
		return tell_stray(ctx, &w);
#endif
#ifdef XLVS_XDP
	if (way == REFUSED)
		return punt();
#else
	if (unlikely(w.p.told))
		return relay_told(ctx, &w, way);
	if (way == REFUSED)
		return is_bypass(ctx, &w) ? PASS : xlvs_icmp_reply(ctx, &w.p, &w.p.dst, ICMP_WHY(XLVS_DROP_no_server, ICMP_NO_PORT, local), 0);
#endif
	s = server_at(w.server);
	if (way == NO_WAY || !s)
		return PASS;
	if (is_ftp_control(&w, s))
#ifdef XLVS_XDP
		return punt();
#else
		ftp_control(ctx, &w, s, !local && way == TO_CLIENT);
#endif
	return local || way == TO_SERVER ? to_server(ctx, &w, s, local) : to_client(ctx, &w, s);
}

#endif
