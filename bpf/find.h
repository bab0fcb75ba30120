/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps 2 to 5 of the walk: is it worth a look, which flow is it of, and if it
 * may begin one, of which service, to which server?
 */
#ifndef XLVS_FIND_H
#define XLVS_FIND_H

#include "hop.h"
#include "schedule.h"

/* A superset of addr_flags(), without a hash lookup. */
static __always_inline __u32 addr_hint(const struct xlvs_addr *a)
{
	__u32 place = (a->w[0] ^ a->w[1] ^ a->w[2] ^ a->w[3]) * XLVS_HINT_FACTOR >> XLVS_HINT_SHIFT;
	__u32 word = place / 16;
	__u64 *flags = bpf_map_lookup_elem(&addr_hints, &word);

	return flags ? *flags >> place % 16 * 4 & 15 : 0;
}

static __always_inline __u32 addr_flags(const struct xlvs_addr *a)
{
	__u32 *flags = bpf_map_lookup_elem(&addrs, a);

	return flags ? *flags : 0;
}

static __always_inline int overflowing(__u64 now)
{
	struct xlvs_table *t = the_table();

	return t && now < READ_ONCE(t->overflow_until);
}

static __always_inline struct xlvs_service *service_find(const struct xlvs_addr *addr, __be16 port, __u8 proto)
{
	struct xlvs_service_key k = { .addr = *addr, .port = port, .proto = proto };
	struct xlvs_versions *versions = bpf_map_lookup_elem(&services, &k);
	struct xlvs_service *svc;

	if (!versions)
		return NULL;
	svc = has_turned(versions->turn) ? &versions->next : &versions->now;
	return svc->present ? svc : NULL;
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
	__u8 flags, state, fwd;
	int opened;

	if (!w)
		return NOT_OURS;
	svc = service_find(&w->p.dst, w->p.dport, w->p.proto);
	if (!svc)
		return NOT_OURS;
	if (w->p.frag == FRAG_LATER || (w->p.proto == IPPROTO_TCP && !tcp_opens(w->p.tcp))) {
		if (!overflowing(w->now))
			return NOT_OURS;
		w->server = xlvs_stateless(svc, &w->p.src, w->p.sport);
		return w->server == XLVS_NO_SERVER ? NOT_OURS : CHOSEN;
	}
	w->server = xlvs_choose(svc, &w->p.src, w->p.sport);
	if (w->server == XLVS_NO_SERVER)
		return NO_SERVER;
	s = server_at(w->server);
	if (!s)
		return NO_SERVER;
	fwd = CHOICE_FWD(w->server);
	state = w->p.proto == IPPROTO_TCP ? XLVS_STATE_SYN_RECV : XLVS_STATE_UDP;
	flags = FLAGS_OF_FWD(fwd) | (fwd == XLVS_FWD_nat ? 0 : XLVS_FLOW_NOOUTPUT) | (w->local ? XLVS_FLOW_LOCAL : 0);
	forward_key(&w->key, &w->p);
	opened = flow_open(&w->found, &w->key, CHOICE_NUMBER(w->server), flags << 8 | state);
	if (opened == OPEN_RACED)
		return RACED;
	if (opened == OPEN_FULL) {
		struct xlvs_table *t = the_table();

		if (t)
			WRITE_ONCE(t->overflow_until, w->now + OVERFLOW_NS);
		count(XLVS_COUNT_flow_full);
		w->found.flow = NULL;
		w->server = xlvs_stateless(svc, &w->p.src, w->p.sport);
	}
	account_open(CHOICE_NUMBER(w->server), s->service);
	return CHOSEN;
}

/* A reply whose flow found no room: its server is the one the stateless choice would give the client. */
static __noinline int stateless_reply(struct walk *w)
{
	struct xlvs_service_key k = {};
	struct xlvs_service *svc;
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
	return CHOICE_NUMBER(xlvs_stateless(svc, &w->p.dst, w->p.dport)) == w->server;
}

enum way { NO_WAY, TO_SERVER, TO_CLIENT, REFUSED, AGAIN };

/* A packet of a flow, by one lookup.  Flows come before services: a service that is deleted keeps its flows. */
static __always_inline enum way find_known(struct walk *w, __u32 to, __u32 from, int local)
{
	int reply = !(to & XLVS_ADDR_VIP);

	if (!reply)
		forward_key(&w->key, &w->p);
	else if (from & XLVS_ADDR_SERVER && !local)
		reply_key(&w->key, &w->p);
	else
		return NO_WAY;
	if (!flow_find(&w->found, &w->key, w->now))
		return NO_WAY;
	if (!reply && is_reuse(&w->p, w->found.word)) {
		flow_end(w->found.flow, w->found.slot, w->found.word);
		return NO_WAY;
	}
	w->server = w->found.flow->server;
	return reply ? TO_CLIENT : TO_SERVER;
}

static __noinline int reply_find(struct walk *w)
{
	if (!w)
		return 0;
	reply_key(&w->key, &w->p);
	if (flow_seek(&w->found, &w->key, w->now)) {
		w->server = w->found.flow->server;
		return 1;
	}
	w->found.flow = NULL;
	return stateless_reply(w);
}

static __always_inline int forward_find(struct walk *w)
{
	forward_key(&w->key, &w->p);
	if (!flow_seek(&w->found, &w->key, w->now))
		return 0;
	w->server = w->found.flow->server;
	return 1;
}

/*
 * Whose packet is it?  *to* and *from* are hints: what they say in vain, the lookups find out.  On the way to a
 * virtual address the source's is not needed before now.
 */
static __always_inline enum way find(struct walk *w, __u32 to, __u32 from, int local)
{
	enum way way = find_known(w, to, from, local);

	if (way != NO_WAY)
		return way;
	w->found.flow = NULL;
	if (to & XLVS_ADDR_VIP)
		from = addr_hint(&w->p.src);
	/* The client of a reply may be the director itself, by its virtual or its own address. */
	from &= to & (XLVS_ADDR_VIP | XLVS_ADDR_DIRECTOR) ? XLVS_ADDR_SERVER | XLVS_ADDR_VIP : XLVS_ADDR_SERVER;
	if (from && !local && reply_find(w))
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

#endif
