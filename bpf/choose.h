/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps 4 and 5 of the walk, of a packet without a flow: of which service is
 * it, may it begin a flow, and to which server?
 */
#ifndef XLVS_CHOOSE_H
#define XLVS_CHOOSE_H

#include "hop.h"
#include "schedule.h"
#include "template.h"

static __always_inline int overflowing(void)
{
	struct xlvs_head *h = the_head();

	return h && READ_ONCE(h->overflow_until) && bpf_jiffies64() < READ_ONCE(h->overflow_until);
}

static __always_inline void overflow(void)
{
	struct xlvs_config *c = the_config();
	struct xlvs_head *h = the_head();

	if (c && h)
		WRITE_ONCE(h->overflow_until, bpf_jiffies64() + (__u64)OVERFLOW_S * c->hz);
	count(XLVS_COUNT_flow_full);
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

/* How a service was found. */
enum kind { BY_PORT, BY_ADDRESS, BY_MARK };

static __always_inline void mark_addr(struct xlvs_addr *a, const struct walk *w)
{
	memset(a, 0, sizeof(*a));
	a->w[3] = htonl(w->mark);
	if (!w->p.v6)
		a->w[2] = htonl(0xffff);
}

/* The packet's service (ip_vs_service_find): by its mark, by address and port, or one that takes every port. */
static __noinline struct xlvs_service *service_of(const struct walk *w, enum kind *kind)
{
	struct xlvs_service *svc;
	struct xlvs_addr mark;

	*kind = BY_MARK;
	if (w->mark) {
		mark_addr(&mark, w);
		svc = service_find(&mark, 0, XLVS_PROTO_MARK);
		if (svc)
			return svc;
	}
	*kind = BY_PORT;
	svc = service_find(&w->p.dst, w->p.dport, w->p.proto);
	if (svc)
		return svc;
	*kind = BY_ADDRESS;
	return service_find(&w->p.dst, 0, w->p.proto);
}

/* With sloppy_tcp any segment but a reset opens a connection. */
static __always_inline int may_open(const struct pkt *p)
{
	return p->proto != IPPROTO_TCP || tcp_opens(p->tcp) || (!(p->tcp & TCP_RST) && is_on(XLVS_SYSCTL_SLOPPY_TCP));
}

/* drop_packet refuses one of so many new connections, the first at once (ip_vs_todrop). */
static __noinline int is_refused(void)
{
	struct xlvs_config *c = the_config();
	__u32 zero = 0;
	__u64 *asked;

	if (!c || likely(!c->drop_rate))
		return 0;
	asked = bpf_map_lookup_elem(&defence, &zero);
	return asked && !(__sync_fetch_and_add(asked, 1) % c->drop_rate);
}

enum choice { NOT_OURS, CHOSEN, CHOSEN_ONCE, NO_SERVER, RACED, NEW, FULL, DEFENDED };

/* The choice of a persistent service: the server that the client had, if it did. */
static __noinline __u32 choose_again(struct walk *w, const struct xlvs_service *svc, enum kind kind)
{
	struct key *t = scratch_at(TEMPLATE_AT);
	struct xlvs_addr mark;
	__u32 choice, first;

	if (!w || !svc || !t)
		return XLVS_NO_SERVER;
	if (kind == BY_MARK) {
		mark_addr(&mark, w);
		template_key(t, &w->p.src, svc->mask, &mark, 0, XLVS_PROTO_MARK, w->p.v6);
	} else {
		template_key(t, &w->p.src, svc->mask, &w->p.dst, kind == BY_PORT ? w->p.dport : 0, w->p.proto, w->p.v6);
	}
	choice = xlvs_template_find(t, svc->persistent);
	if (choice != XLVS_NO_SERVER)
		return choice;
	choice = xlvs_choose(svc, &w->p.src, &w->p.dst, w->p.sport);
	if (choice == XLVS_NO_SERVER || xlvs_template_open(t, choice, svc->persistent))
		return choice;
	first = xlvs_template_find(t, svc->persistent);
	return first == XLVS_NO_SERVER ? choice : first;
}

/*
 * No flow yet: find the service, choose a server.  CHOSEN: the packet goes there without a flow, NEW: with one,
 * CHOSEN_ONCE: it is counted as a connection of its own, but has no flow (one-packet scheduling).
 */
static __noinline int choose(struct walk *w)
{
	struct xlvs_service *svc;
	enum kind kind;
	int ops;

	if (!w)
		return NOT_OURS;
	svc = service_of(w, &kind);
	if (!svc)
		return NOT_OURS;
	ops = svc->flags & XLVS_SERVICE_OPS && w->p.proto == IPPROTO_UDP;
	if (ops && w->p.frag) {			/* all fragments to one */
		w->server = xlvs_stateless(svc, &w->p.src, w->p.sport);
		return w->server == XLVS_NO_SERVER ? NO_SERVER : w->p.frag == FRAG_LATER ? CHOSEN : CHOSEN_ONCE;
	}
	if (w->p.frag == FRAG_LATER || !may_open(&w->p)) {
		if (!overflowing())
			return NOT_OURS;
		w->server = xlvs_stateless(svc, &w->p.src, w->p.sport);
		return w->server == XLVS_NO_SERVER ? NOT_OURS : CHOSEN;
	}
	if (is_refused())
		return DEFENDED;
	w->server = svc->persistent ? choose_again(w, svc, kind) : xlvs_choose(svc, &w->p.src, &w->p.dst, w->p.sport);
	return w->server == XLVS_NO_SERVER ? NO_SERVER : ops ? CHOSEN_ONCE : NEW;
}

/* The table is full: choose as everybody will who has only the packet to go by. */
static __noinline int choose_stateless(struct walk *w)
{
	struct xlvs_service *svc;
	enum kind kind;

	if (!w)
		return NO_SERVER;
	overflow();
	svc = service_of(w, &kind);
	if (!svc)
		return NOT_OURS;
	w->server = xlvs_stateless(svc, &w->p.src, w->p.sport);
	return w->server == XLVS_NO_SERVER ? NO_SERVER : CHOSEN;
}

/* Open a flow to the server that was chosen.  Not within choose(): the stack would not hold both. */
static __noinline int open_chosen(struct walk *w)
{
	struct xlvs_server *s;
	struct key *k;
	int opened;

	if (!w)
		return NO_SERVER;
	s = server_at(w->server);
	k = scratch_at(KEY_AT);
	if (k && !k->sought)
		k = key_forward(&w->p);
	if (!s || !k)
		return NO_SERVER;
	k->server = CHOICE_NUMBER(w->server);
	k->state = XLVS_STATE_UDP;
	if (w->p.proto == IPPROTO_TCP)
		k->state = tcp_step(XLVS_STATE_NONE, w->p.tcp, CHOICE_FWD(w->server) == XLVS_FWD_nat ? TCP_INPUT : TCP_INPUT_ONLY,
				    is_on(XLVS_SYSCTL_SECURE_TCP));
	if (k->state == XLVS_STATE_NONE)	/* a segment without flags, with sloppy_tcp */
		k->state = XLVS_STATE_CLOSE;
	k->fwd = CHOICE_FWD(w->server);
	k->local = w->local;
	opened = flow_open(k);
	if (opened == OPEN_FULL)
		return FULL;
	if (opened == OPENED)
		count(XLVS_COUNT_flow_opened);
	if (opened == OPEN_RACED || !flow_at(&w->found, k, k->place))
		return RACED;
	account_open(k->server, s->service);
	return CHOSEN;
}

/* A new flow's server, or whatever else becomes of a packet without one. */
static __always_inline int begin_flow(struct walk *w)
{
	struct xlvs_server *s;
	int choice = choose(w);

	if (choice == CHOSEN_ONCE) {
		s = server_at(w->server);
		if (s)
			account_open(CHOICE_NUMBER(w->server), s->service);
		return CHOSEN;
	}
	if (choice != NEW)
		return choice;
	choice = open_chosen(w);
	if (choice != FULL)
		return choice;
	w->found.flow = NULL;
	choice = choose_stateless(w);
	s = server_at(w->server);
	if (choice == CHOSEN && s)
		account_open(CHOICE_NUMBER(w->server), s->service);
	return choice;
}

#endif
