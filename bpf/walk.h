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

#include "flow.h"
#include "hop.h"
#include "fwd/nat.h"
#include "fwd/route.h"
#include "fwd/ipip.h"
#include "schedule.h"
#ifndef XLVS_XDP
#include "icmp.h"
#include "relay.h"
#include "frag.h"
#endif

static __always_inline __u32 addr_flags(const struct xlvs_addr *a)
{
	__u32 *flags = bpf_map_lookup_elem(&addrs, a);

	return flags ? *flags : 0;
}

/* Only frames for this host: a bridge port, or a second hook, must not balance what another will. */
static __always_inline int is_ours(ctx_t *ctx)
{
#ifdef XLVS_XDP
	__u32 ifindex = ctx->ingress_ifindex;
	struct xlvs_interface *i = bpf_map_lookup_elem(&interfaces, &ifindex);
	struct ethhdr *eth = data_begin(ctx);

	__u16 *to = (void *)eth->h_dest, *mac;

	if (!i || (void *)(eth + 1) > data_end(ctx))
		return 0;
	mac = (void *)i->mac;
	return to[0] == mac[0] && to[1] == mac[1] && to[2] == mac[2];
#else
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

static __always_inline int overflowing(__u64 now)
{
	struct xlvs_table *t = the_table();

	return t && now < READ_ONCE(t->overflow_until);
}

static __always_inline void ask_about(struct xlvs_ask *ask, const struct xlvs_service *svc, const struct xlvs_addr *client,
				      __be16 cport, const struct xlvs_addr *virt)
{
	ask->svc = svc;
	ask->client = *client;
	ask->virt = *virt;
	ask->cport = cport;
}

static __always_inline struct xlvs_service *service_find(const struct xlvs_addr *addr, __be16 port, __u8 proto)
{
	struct xlvs_service_key k = { .addr = *addr, .port = port, .proto = proto };

	return bpf_map_lookup_elem(&services, &k);
}

/* IPVS's conn_reuse_mode 1: a new connection on the ports of one that is over is scheduled anew. */
static __always_inline int is_reuse(const struct pkt *p, __u64 word)
{
	__u8 state = WORD_STATE(word);

	return p->proto == IPPROTO_TCP && (p->tcp & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN &&
	       (state == XLVS_STATE_TIME_WAIT || state == XLVS_STATE_CLOSE);
}

enum choice { NOT_OURS, CHOSEN, NO_SERVER, RACED };

/* No flow yet: find the service, choose a server, open the flow. */
static __noinline int choose(struct walk *w)
{
	struct xlvs_service *svc;
	struct xlvs_server *s;
	struct xlvs_ask ask = {};
	__u8 flags, state;
	int opened;

	if (!w || w->p.frag == FRAG_LATER)
		return NOT_OURS;
	svc = service_find(&w->p.dst, w->p.dport, w->p.proto);
	if (!svc)
		return NOT_OURS;
	ask_about(&ask, svc, &w->p.src, w->p.sport, &w->p.dst);
	if (w->p.proto == IPPROTO_TCP && !tcp_opens(w->p.tcp)) {
		if (!overflowing(w->now))
			return NOT_OURS;
		w->server = xlvs_stateless(&ask);
		return w->server == XLVS_NO_SERVER ? NOT_OURS : CHOSEN;
	}
	w->server = xlvs_schedule(&ask);
	s = server_at(w->server);
	if (w->server == XLVS_NO_SERVER || !s)
		return NO_SERVER;
	state = w->p.proto == IPPROTO_TCP ? XLVS_STATE_SYN_RECV : XLVS_STATE_UDP;
	flags = FLAGS_OF_FWD(s->fwd) | (s->fwd == XLVS_FWD_nat ? 0 : XLVS_FLOW_NOOUTPUT) | (w->local ? XLVS_FLOW_LOCAL : 0);
	forward_key(&w->key, &w->p);
	opened = flow_open(&w->found, &w->key, w->server, flags << 8 | state);
	if (opened == OPEN_RACED)
		return RACED;
	account_open(w->server, s->service);
	if (opened == OPEN_FULL) {
		struct xlvs_table *t = the_table();

		if (t)
			WRITE_ONCE(t->overflow_until, w->now + OVERFLOW_NS);
		count(XLVS_COUNT_flow_full);
		w->found.flow = NULL;
		w->server = xlvs_stateless(&ask);
	}
	return CHOSEN;
}

/* Count the packet, with its flow or without. */
static __always_inline void account(struct walk *w, const struct xlvs_server *s, int reply)
{
	struct xlvs_stats *st;

	if (w->found.flow) {
		flow_step(&w->found, &w->p, reply);
		flow_account(&w->found, &w->p, reply, w->now);
		return;
	}
	count(XLVS_COUNT_stateless);
	st = stats_of(&server_stats, w->server);
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

/* Find the way to the server; a negative result is the verdict's complement: the packet ends here. */
static __always_inline int find_way(ctx_t *ctx, struct walk *w, const struct xlvs_server *s, __u8 fwd)
{
	__u32 room = fwd == XLVS_FWD_ipip ? ipip_room(s) : 0;

	if (room && no_addr(&s->src))
		return ~drop(XLVS_DROP_no_source);
	hop_find(ctx, &w->p, &w->hop, room ? &s->src : &w->p.src, &s->addr, room);
#ifdef XLVS_XDP
	return w->p.ttl <= 1 || !hop_usable(&w->hop) ? ~punt() : 0;
#else
	if (w->p.ttl <= 1)
		return ~icmp_reply(ctx, &w->p, &w->p.dst, ICMP_WHY(XLVS_DROP_ttl, ICMP_TTL_EXCEEDED, w->local), 0);
	if (w->hop.rc == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		if (fwd == XLVS_FWD_nat && !w->p.df && !w->local)
			return 0;	/* the host's stack fragments it on its way */
		rewrite_ip(ctx, &w->p, 0, NULL, 1);	/* the quote shows the TTL as counted down, as IPVS does */
		return ~icmp_reply(ctx, &w->p, &w->p.dst, ICMP_WHY(XLVS_DROP_too_big, ICMP_TOO_BIG, w->local),
				   w->hop.fib.mtu_result - room);
	}
	return hop_usable(&w->hop) ? 0 : ~hop_drop(&w->hop);
#endif
}

/* To the real server. */
static __always_inline int to_server(ctx_t *ctx, struct walk *w, const struct xlvs_server *s)
{
	__u8 fwd = w->found.flow ? WORD_FWD(w->found.word) : s->fwd;
	int end, ok;

	if (!(s->flags & XLVS_SERVER_LIVE))
		return drop(XLVS_DROP_server_gone);
#ifndef XLVS_XDP
	/* The server must answer the director, not the virtual address that it owns itself. */
	if (w->local && fwd != XLVS_FWD_nat) {
		if (no_addr(&s->src))
			return drop(XLVS_DROP_no_source);
		if (!rewrite(ctx, &w->p, 1, &s->src, w->p.sport, 0))
			return drop(XLVS_DROP_no_headroom);
	}
#endif
	end = find_way(ctx, w, s, fwd);
	if (end)
		return ~end;
	account(w, s, 0);
#ifndef XLVS_XDP
	if (w->hop.rc == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return nat_to_server(ctx, &w->p, s, 0) ? PASS : drop(XLVS_DROP_no_headroom);
#endif
	if (fwd == XLVS_FWD_nat)
		ok = nat_to_server(ctx, &w->p, s, 1);
	else if (fwd == XLVS_FWD_ipip)
		ok = ipip_to_server(ctx, &w->p, s);
	else
		ok = route_to_server(ctx, &w->p);
	if (!ok)
		return drop(XLVS_DROP_no_headroom);
	count(w->local ? XLVS_COUNT_local_forwarded : COUNT_FORWARDED);
	return hop_leave(ctx, &w->hop);
}

#ifndef XLVS_XDP
/* A reply to a client on the director itself. */
static __always_inline int to_local(ctx_t *ctx, struct walk *w, const struct xlvs_server *s)
{
	int ok;

	w->key = w->found.flow->key;
	account(w, s, 1);
	if (WORD_FWD(w->found.word) == XLVS_FWD_nat)
		ok = nat_to_client(ctx, &w->p, &w->key.other, w->key.oport, 0);
	else
		ok = rewrite(ctx, &w->p, 0, &w->key.client, w->p.dport, 0);
	return ok ? to_local_client(ctx) : drop(XLVS_DROP_no_headroom);
}
#endif

/* A reply of a real server behind nat. */
static __always_inline int to_client(ctx_t *ctx, struct walk *w, struct xlvs_server *s)
{
	w->key.other = w->found.flow ? w->found.flow->key.other : s->virt;
	w->key.oport = w->found.flow ? w->found.flow->key.oport : s->vport;
	if (w->found.flow && WORD_FLAGS(w->found.word) & XLVS_FLOW_LOCAL) {
#ifdef XLVS_XDP
		return punt();
#else
		return to_local(ctx, w, s);
#endif
	}
	hop_find(ctx, &w->p, &w->hop, &w->key.other, &w->p.dst, 0);
#ifdef XLVS_XDP
	if (w->p.ttl <= 1 || !hop_usable(&w->hop))
		return punt();
#else
	if (w->p.ttl <= 1)
		return icmp_reply(ctx, &w->p, &s->src, ICMP_WHY(XLVS_DROP_ttl, ICMP_TTL_EXCEEDED, 0), 0);
	if (w->hop.rc == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		rewrite_ip(ctx, &w->p, 0, NULL, 1);
		return icmp_reply(ctx, &w->p, &s->src, ICMP_WHY(XLVS_DROP_too_big, ICMP_TOO_BIG, 0), w->hop.fib.mtu_result);
	}
	if (!hop_usable(&w->hop))
		return hop_drop(&w->hop);
#endif
	account(w, s, 1);
	if (!nat_to_client(ctx, &w->p, &w->key.other, w->key.oport, 1))
		return drop(XLVS_DROP_no_headroom);
	count(COUNT_FORWARDED);
	return hop_leave(ctx, &w->hop);
}

/* A reply whose flow found no room: its server is the one the stateless choice would give the client. */
static __noinline int stateless_reply(struct walk *w)
{
	struct xlvs_service_key k = {};
	struct xlvs_service *svc;
	struct xlvs_ask ask = {};
	struct xlvs_server *s;
	__u32 *number;

	if (!w || !overflowing(w->now))
		return 0;
	k.addr = w->p.src;
	k.port = w->p.sport;
	k.proto = w->p.proto;
	number = bpf_map_lookup_elem(&nat_servers, &k);
	if (!number)
		return 0;
	w->server = *number;
	s = server_at(w->server);
	if (!s)
		return 0;
	svc = service_find(&s->virt, s->vport, s->proto);
	if (!svc)
		return 0;
	ask_about(&ask, svc, &w->p.dst, w->p.dport, &s->virt);
	return xlvs_stateless(&ask) == w->server;
}

static __always_inline int reply_find(struct walk *w)
{
	reply_key(&w->key, &w->p);
	if (flow_find(&w->found, &w->key, w->now)) {
		w->server = w->found.flow->server;
		return 1;
	}
	w->found.flow = NULL;
	return stateless_reply(w);
}

static __always_inline int forward_find(struct walk *w)
{
	forward_key(&w->key, &w->p);
	if (flow_find(&w->found, &w->key, w->now)) {
		if (!is_reuse(&w->p, w->found.word)) {
			w->server = w->found.flow->server;
			return 1;
		}
		flow_end(w->found.flow, w->found.slot, w->found.word);
	}
	w->found.flow = NULL;
	return 0;
}

enum way { NO_WAY, TO_SERVER, TO_CLIENT, REFUSED, AGAIN };

/* Whose packet is it?  Flows come before services: a service that is deleted keeps its flows. */
static __always_inline enum way find(struct walk *w, __u32 to, __u32 from)
{
	if (to & XLVS_ADDR_VIP) {
		if (forward_find(w))
			return TO_SERVER;
		from = addr_flags(&w->p.src);
	} else if (!(to & XLVS_ADDR_DIRECTOR && from & XLVS_ADDR_VIP)) {
		from &= XLVS_ADDR_SERVER;
	}
	/* The client of a reply may be the director itself, by its virtual or its own address. */
	if (from & (XLVS_ADDR_SERVER | XLVS_ADDR_VIP) && !w->local && reply_find(w))
		return TO_CLIENT;
	if (!(to & XLVS_ADDR_VIP))
		return NO_WAY;
	switch (choose(w)) {
	case CHOSEN:
		return TO_SERVER;
	case NO_SERVER:
		return REFUSED;
	case RACED:
		return forward_find(w) ? TO_SERVER : AGAIN;
	}
	return NO_WAY;
}

#ifndef XLVS_XDP
/* What only TC looks at.  True: the packet ends here, with *verdict*. */
static __always_inline int is_special(ctx_t *ctx, struct walk *w, __u32 to, __u32 from, int *verdict)
{
	*verdict = PASS;
	if (is_icmp_error(ctx, &w->p)) {
		if (to & XLVS_ADDR_VIP)
			*verdict = relay_to_server(ctx, w);
		else if (!w->local)
			*verdict = relay_to_client(ctx, w);
		return 1;
	}
	if (w->p.proto != IPPROTO_TCP && w->p.proto != IPPROTO_UDP)
		return 1;
	return w->p.frag && (to & XLVS_ADDR_VIP || from & XLVS_ADDR_SERVER) && !frag_ports(&w->p);
}
#endif

static __always_inline int walk(ctx_t *ctx, int local)
{
	struct walk w = { .local = local };
	struct xlvs_server *s;
	__u32 to, from;
	enum way way;

	if ((!local && !is_ours(ctx)) || !parse(ctx, &w.p))
		return PASS;
	to = addr_flags(&w.p.dst);
	from = to & XLVS_ADDR_VIP ? 0 : addr_flags(&w.p.src);
#ifdef XLVS_XDP
	if (w.p.frag || (w.p.proto != IPPROTO_TCP && w.p.proto != IPPROTO_UDP))
		return PASS;
#else
	int verdict;

	if (is_special(ctx, &w, to, from, &verdict))
		return verdict;
#endif
	if (!(to & XLVS_ADDR_VIP) && !from)
		return PASS;
	w.now = bpf_ktime_get_coarse_ns();
	way = find(&w, to, from);
	if (way == AGAIN)
		return drop(XLVS_DROP_busy);
	if (way == REFUSED)
#ifdef XLVS_XDP
		return punt();
#else
		return icmp_reply(ctx, &w.p, &w.p.dst, ICMP_WHY(XLVS_DROP_no_server, ICMP_NO_PORT, local), 0);
#endif
	s = server_at(w.server);
	if (way == NO_WAY || !s)
		return PASS;
	return way == TO_SERVER ? to_server(ctx, &w, s) : to_client(ctx, &w, s);
}

#endif
