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

static __always_inline void mark_addr(struct xlvs_addr *a, __u32 mark, int v6)
{
	memset(a, 0, sizeof(*a));
	a->w[3] = htonl(mark);
	if (!v6)
		a->w[2] = htonl(0xffff);
}

/* The packet's service (ip_vs_service_find): by its mark, by address and port, or one that takes every port. */
static __noinline struct xlvs_service *service_of(const struct walk *w, enum kind *kind)
{
	struct xlvs_service *svc;
	struct xlvs_addr mark;

	*kind = BY_MARK;
	if (w->mark) {
		mark_addr(&mark, w->mark, w->p.v6);
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

/* What an ICMP error told of may always.  SCTP is asked in a place of its own.  With sloppy_tcp any segment but a reset opens a connection. */
static __always_inline int may_open(const struct pkt *p)
{
	if (p->told)
		return 1;
#ifndef XLVS_XDP
	if (unlikely(p->proto == IPPROTO_SCTP))
		return sctp_opens(p, is_on(XLVS_SYSCTL_SLOPPY_SCTP));
#endif
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

enum choice { NOT_OURS, CHOSEN, CHOSEN_ONCE, NO_SERVER, RACED, NEW, FULL, DEFENDED, SILENT };

static __always_inline struct xlvs_sip *the_sip(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sip_text, &zero);
}

/* A packet of a service that goes by the Call-ID has said none: it is dropped, and nobody told, as by IPVS. */
static __always_inline int is_unheard(const struct pkt *p)
{
	struct xlvs_sip *s = the_sip();

	return !s || p->proto != IPPROTO_UDP || s->known != XLVS_CALL_USED;
}

/* The template's client is the digest of the one call that sip.h has read. */
static __always_inline int by_call(struct key *t)
{
	struct xlvs_sip *s = the_sip();

	if (!s || s->known != XLVS_CALL_READ)
		return 0;
	s->known = XLVS_CALL_USED;
	memcpy(&t->client, s->hash, sizeof(t->client));
	t->v6 = 1;
	return 1;
}

/*
 * The choice of a persistent service: the server that the client had, if it did.  *mark* is what the service was found
 * by, else 0.  Global, as the verifier would look at it for every way here.
 */
__noinline __u32 xlvs_choose_again(const struct pkt *p, const struct xlvs_service *svc, __u32 mark, __u32 by_port)
{
	struct key *t = scratch_at(TEMPLATE_AT);
	struct xlvs_addr virt;
	__u32 choice, first;

	if (!p || !svc || !t)
		return XLVS_NO_SERVER;
	if (mark) {
		mark_addr(&virt, mark, p->v6);
		template_key(t, &p->src, svc->mask, &virt, 0, XLVS_PROTO_MARK, p->v6);
	} else {
		template_key(t, &p->src, svc->mask, &p->dst, by_port ? p->dport : 0, p->proto, p->v6);
	}
	if (unlikely(svc->engine) && !by_call(t))
		return XLVS_NO_SERVER;
	choice = xlvs_template_find(t, svc->persistent);
	if (choice != XLVS_NO_SERVER)
		return choice;
	choice = xlvs_choose(svc, &p->src, &p->dst, p->sport);
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
#ifdef XLVS_XDP
	if (unlikely(svc->engine))
		return NOT_OURS;
#endif
	ops = svc->flags & XLVS_SERVICE_OPS && w->p.proto == IPPROTO_UDP;
	if (ops && w->p.frag && !w->p.related) {		/* all fragments to one */
		w->server = xlvs_stateless(svc, &w->p.src, w->p.sport);
		return w->server == XLVS_NO_SERVER ? NO_SERVER : w->p.frag == FRAG_LATER ? CHOSEN : CHOSEN_ONCE;
	}
	if (w->p.frag >= FRAG_LATER || !may_open(&w->p)) {
		if (!overflowing())
			return NOT_OURS;
		w->server = xlvs_stateless(svc, &w->p.src, w->p.sport);
		return w->server == XLVS_NO_SERVER ? NOT_OURS : CHOSEN;
	}
	if (is_refused())
		return DEFENDED;
	w->server = svc->persistent ? xlvs_choose_again(&w->p, svc, kind == BY_MARK ? w->mark : 0, kind == BY_PORT)
				    : xlvs_choose(svc, &w->p.src, &w->p.dst, w->p.sport);
	if (w->server == XLVS_NO_SERVER)
		return unlikely(svc->engine) && is_unheard(&w->p) ? SILENT : NO_SERVER;
	return ops ? CHOSEN_ONCE : NEW;
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

/*
 * Enter a flow to the server that was chosen; its key is in the scratch map.  Not within choose(): the stack would not
 * hold both.  Global, as the verifier would look at it for every way here.
 */
__noinline int xlvs_open(const struct pkt *p, __u32 choice, __u32 local)
{
	struct key *k = scratch_at(KEY_AT);

	if (!p || !k)
		return OPEN_RACED;
	if (!k->sought)
		k = key_forward(p);
	if (!k)
		return OPEN_RACED;
	k->server = CHOICE_NUMBER(choice);
	k->state = XLVS_STATE_UDP;
	if (p->proto == IPPROTO_TCP && p->told)
		k->state = XLVS_STATE_NONE;
	else if (p->proto == IPPROTO_TCP)
		k->state = tcp_step(XLVS_STATE_NONE, p->tcp, CHOICE_FWD(choice) == XLVS_FWD_nat ? TCP_INPUT : TCP_INPUT_ONLY,
				    is_on(XLVS_SYSCTL_SECURE_TCP));
#ifndef XLVS_XDP
	if (p->proto == IPPROTO_SCTP)
		k->state = XLVS_STATE_SCTP_NONE;	/* the step that the packet takes on its way is its first, and is not taken twice */
#endif
	if (k->state == XLVS_STATE_NONE && !p->told)	/* a segment without flags, with sloppy_tcp */
		k->state = XLVS_STATE_CLOSE;
	k->fwd = CHOICE_FWD(choice);
	k->local = local;
	return flow_open(k);
}

/* Enter a flow that no packet at hand is of. */
__noinline int xlvs_enter(struct key *k)
{
	int opened;

	if (!k)
		return OPEN_RACED;
	opened = flow_open(k);
	if (opened == OPENED)
		count(XLVS_COUNT_flow_opened);
	return opened;
}

static __always_inline int open_chosen(struct walk *w, int expected)
{
	struct xlvs_server *s = server_at(w->server);
	struct key *k = scratch_at(KEY_AT);
	int opened;

	if (!s || !k)
		return NO_SERVER;
	opened = xlvs_open(&w->p, w->server, w->local);
	if (opened == OPEN_FULL)
		return FULL;
	if (opened == OPENED)
		count(XLVS_COUNT_flow_opened);
	if (opened == OPEN_RACED || !flow_at(&w->found, k, k->place))
		return RACED;
	if (!expected)			/* of FTP only the control connection counts */
		account_open(CHOICE_NUMBER(w->server), s->service);
	return CHOSEN;
}

/* A passive data connection of FTP, which its control connection told of: the client's port was not known yet. */
static __noinline int is_expected(struct walk *w)
{
	struct key *k;

	if (!w)
		return 0;
	k = key_of(&w->p.src, &w->p.dst, w->p.ports & 0xffff0000, IPPROTO_TCP, w->p.v6, 0);
	if (!k || !flow_seek(&w->found, k) || WORD_STATE(w->found.word) != XLVS_STATE_LISTEN) {
		w->found.flow = NULL;
		return 0;
	}
	w->server = WORD_SERVER(w->found.word) | XLVS_FWD_nat << XLVS_CHOICE_FWD_SHIFT;
	xlvs_flow_end(k, w->found.place, w->found.word);
	w->found.flow = NULL;
	k->sought = 0;
	return 1;
}

/* A new flow's server, or whatever else becomes of a packet without one. */
static __always_inline int begin_flow(struct walk *w, int expected)
{
	int choice = expected ? NEW : choose(w);
	struct xlvs_server *s;

	if (choice == CHOSEN_ONCE) {
		s = server_at(w->server);
		if (s)
			account_open(CHOICE_NUMBER(w->server), s->service);
		return CHOSEN;
	}
	if (choice != NEW)
		return choice;
	choice = open_chosen(w, expected);
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
