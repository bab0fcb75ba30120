/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Steps 2 and 3 of the walk: is the packet worth a look, and which flow is it of?
 */
#ifndef XLVS_FIND_H
#define XLVS_FIND_H

#include "choose.h"
#include "hop.h"

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

/* A new connection on the ports of one that is over is scheduled anew, as conn_reuse_mode says (is_new_conn_expected). */
static __always_inline int is_reuse(const struct pkt *p, __u64 word)
{
	__u8 state = WORD_STATE(word);

#ifndef XLVS_XDP
	if (unlikely(p->proto == IPPROTO_SCTP))
		return p->sctp == SCTP_INIT && state == XLVS_STATE_SCTP_CLOSED && is_on(XLVS_SYSCTL_REUSE);
#endif
	if (likely(p->proto != IPPROTO_TCP || (p->tcp & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN))
		return 0;
	if (state == XLVS_STATE_TIME_WAIT || state == XLVS_STATE_CLOSE)
		return is_on(XLVS_SYSCTL_REUSE);
	return state == XLVS_STATE_FIN_WAIT && WORD_FWD(word) != XLVS_FWD_nat && is_on(XLVS_SYSCTL_REUSE_NO_OUTPUT);
}

/* A reply whose flow found no room: its server is the one the stateless choice would give the client. */
static __noinline int stateless_reply(struct walk *w)
{
	struct xlvs_service_key k = {};
	struct xlvs_service *svc;
	struct xlvs_server *s;
	__u32 *number;

	if (!w || !overflowing())
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

#define VIRT_AT		768	/* in the scratch map */

/*
 * The virtual address that the packet's flow was opened with, NULL: the flow has just gone.  The server knows it, and
 * its word is better, as the flow's slot may be another's by now; but a service by mark has no address.
 */
static __always_inline const struct xlvs_addr *virtual_end(struct walk *w, const struct xlvs_server *s)
{
	struct xlvs_addr *virt = scratch_at(VIRT_AT);

	if (likely(s->proto != XLVS_PROTO_MARK))
		return &s->virt;
	if (!virt || !w->found.flow)
		return NULL;
	flow_virt(w->found.flow, w->found.flow6, virt);
	return is_still(&w->found, AFTER(virt->w[3])) ? virt : NULL;
}

/* The virtual port that a reply comes from; 0: it is the packet's own. */
static __always_inline __be16 virtual_port(const struct walk *w, const struct xlvs_server *s)
{
	return unlikely(s->flags & XLVS_SERVER_FTP) && w->found.flow ? READ_ONCE(w->found.flow->vport) : s->vport;
}

enum way { NO_WAY, TO_SERVER, TO_CLIENT, REFUSED, AGAIN, TURNED_AWAY, UNHEARD };

/* A packet of a flow, by one lookup.  Flows come before services: a service that is deleted keeps its flows. */
static __always_inline enum way find_known(struct walk *w, __u32 to, __u32 from, int local)
{
	int opens = w->p.proto == IPPROTO_TCP && tcp_opens(w->p.tcp);
	int reply = !(to & XLVS_ADDR_VIP);
	struct ends e;

	if (!reply)
		e = ends_forward(&w->p);
	else if (from & XLVS_ADDR_SERVER && !local)
		e = ends_reply(&w->p);
	else
		return NO_WAY;
	if (!find_first(&w->found, &e, opens) || is_over(w->found.flow, WORD_STATE(w->found.word), w->now))
		return NO_WAY;
	if (!reply && unlikely(is_reuse(&w->p, w->found.word)))
		return NO_WAY;
	w->server = WORD_SERVER(w->found.word);
	return reply ? TO_CLIENT : TO_SERVER;
}

/* A reply to the director's own address, which stood in for the client's: the flow is found by the client's. */
static __always_inline int alias_find(struct walk *w)
{
	struct xlvs_alias_key *a = scratch_at(0);
	struct xlvs_addr *client;
	struct key *k;

	if (!w || !a)
		return 0;
	memset(a, 0, sizeof(*a));
	a->own = w->p.dst;
	a->virt = w->p.src;
	a->cport = w->p.dport;
	a->vport = w->p.sport;
	a->proto = w->p.proto;
	client = bpf_map_lookup_elem(&flow_aliases, a);
	if (!client)
		return 0;
	k = key_reply(&w->p);
	if (!k)
		return 0;
	k->client = *client;
	k->reply = 0;
	return flow_seek(&w->found, k);
}

static __noinline int reply_find(struct walk *w)
{
	if (!w)
		return 0;
	if (flow_seek(&w->found, key_reply(&w->p)) || alias_find(w)) {
		w->server = WORD_SERVER(w->found.word);
		return 1;
	}
	w->found.flow = NULL;
	return 0;
}

/* The packet's flow wherever it is; one that a SYN begins anew ends here. */
static __noinline int forward_find(struct walk *w)
{
	struct key *k;

	if (!w)
		return 0;
	k = key_forward(&w->p);
	if (!k)
		return 0;
	if (!flow_seek(&w->found, k)) {
		k->sought = 1;
		return 0;
	}
	if (is_reuse(&w->p, w->found.word)) {
		xlvs_flow_end(k, w->found.place, w->found.word);
		return 0;
	}
	w->server = WORD_SERVER(w->found.word);
	return 1;
}

/*
 * Whose flow is the packet of, if any?  *to* and *from* are hints: what they say in vain, the lookups find out.
 * On the way to a virtual address the source's is not needed before now.
 */
static __always_inline enum way find(struct walk *w, __u32 to, __u32 from, int local)
{
	enum way way = find_known(w, to, from, local);

	if (likely(way != NO_WAY))
		return way;
	if (to & XLVS_ADDR_VIP) {
		if (forward_find(w))
			return TO_SERVER;
		from = addr_hint(&w->p.src);
	}
	w->found.flow = NULL;
	/* The client of a reply may be the director itself, by its virtual or its own address. */
	from &= to & (XLVS_ADDR_VIP | XLVS_ADDR_DIRECTOR) ? XLVS_ADDR_SERVER | XLVS_ADDR_VIP : XLVS_ADDR_SERVER;
	/* Not one within the other: the stack would not hold both. */
	return from && !local && (reply_find(w) || stateless_reply(w)) ? TO_CLIENT : NO_WAY;
}

/* No flow: may the packet begin one?  *to* says of its destination what addr_hint() does. */
static __always_inline enum way begin(struct walk *w, __u32 to)
{
	switch (begin_flow(w, unlikely(to & XLVS_ADDR_FTP) && w->p.proto == IPPROTO_TCP && tcp_opens(w->p.tcp) && is_expected(w))) {
	case CHOSEN:
		return TO_SERVER;
	case NO_SERVER:
		return REFUSED;
	case DEFENDED:
		return TURNED_AWAY;
	case SILENT:
		return UNHEARD;
	case RACED:
		return forward_find(w) ? TO_SERVER : AGAIN;
	}
	return NO_WAY;
}

#endif
