/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the walk meets seldom, or at TC only: ICMP errors, later fragments, another table's flows, packets without a server. */
#ifndef XLVS_SPECIAL_H
#define XLVS_SPECIAL_H

#include "match.h"
#ifndef XLVS_XDP
#include "frag.h"
#include "relay_tunnel.h"
#endif

/* While flows of another table are taken over: the packet goes to the program that knows the rest of them. */
static __always_inline void hand_over(ctx_t *ctx, const struct pkt *p, int local)
{
	struct xlvs_config *c = the_config();
	struct xlvs_head *h = the_head();

	/* The program before, if it is of this build, comes by here as well. */
	if (!c || !h || likely(!c->handover) || c->handover_to != (__u32)h->seed[0] || (c->handover == XLVS_HANDOVER_KNOWN && p->proto == IPPROTO_TCP && tcp_opens(p->tcp)))
		return;
#ifdef XLVS_XDP
	(void)local;
	bpf_tail_call(ctx, &previous_xdp, 0);
#else
	bpf_tail_call(ctx, &previous_tc, local);
#endif
}

#ifndef XLVS_XDP
/* The packet is an ICMP error to a virtual address, or to one that may be: which services by mark have, nobody knows. */
static __always_inline int may_be_virtual(const struct pkt *p)
{
	struct xlvs_config *c = the_config();

	return addr_flags(&p->dst) & XLVS_ADDR_VIP || (c && (c->marker || c->matches));
}

/*
 * With schedule_icmp an error about a packet of a virtual service opens the flow that it is of, if there is none
 * (ip_vs_in_icmp): the walk goes on with the packet that the client is likely to have sent.
 */
static __noinline int tell(ctx_t *ctx, struct walk *w)
{
	struct quote *q = scratch_at(KEY_AT);

	if (!w || !q || !is_on(XLVS_SYSCTL_SCHEDULE_ICMP))
		return 0;
	if (!parse_quote(ctx, q, w->p.l4 + ICMP_HEADER, w->p.v6, BY_VIRTUAL) || q->related)
		return 0;
	w->p.src = q->of.client;
	w->p.dst = q->of.other;
	w->p.ports = q->of.ports;
	w->p.proto = q->of.proto;
	w->p.tcp = 0;
	w->p.told = 1;
	return 1;
}

/* What only TC looks at.  True: the packet ends here, with *verdict*. */
static __always_inline int is_special(ctx_t *ctx, struct walk *w, int local, int marked, int *verdict)
{
	*verdict = PASS;
	if (is_icmp_error(ctx, &w->p)) {
		if (may_be_virtual(&w->p) && quoted_find(ctx, w, 1))
			*verdict = relay_to_server(ctx, w);
		/* The client may be the director itself, by its virtual address. */
		if (*verdict == PASS && !local && quoted_find(ctx, w, 0))
			*verdict = relay_to_client(ctx, w);
		if (*verdict == PASS && !local && tunnelled_find(ctx, w))
			*verdict = relay_tunnel(ctx, w);
		if (*verdict != PASS)
			return 1;
		hand_over(ctx, &w->p, local);
		return local || !may_be_virtual(&w->p) || !tell(ctx, w);
	}
	if (w->p.proto != IPPROTO_TCP && w->p.proto != IPPROTO_UDP && w->p.proto != IPPROTO_SCTP)
		return 1;
	return w->p.frag && !w->p.related && (marked || has_matches() || addr_flags(&w->p.dst) & (XLVS_ADDR_VIP | XLVS_ADDR_DIRECTOR) ||
			     addr_flags(&w->p.src) & XLVS_ADDR_SERVER) && !frag_ports(&w->p);
}

/* What became of the flow that tell() asked for. */
static __noinline int relay_told(ctx_t *ctx, struct walk *w, enum way way)
{
	struct quote *q = scratch_at(KEY_AT);

	if (way == REFUSED)		/* nobody answers an ICMP error */
		return drop(XLVS_DROP_no_server);
	if (!w || !q || way != TO_SERVER || !w->found.flow)
		return PASS;
	if (!xlvs_parse(ctx, &w->p) || !parse_quote(ctx, q, w->p.l4 + ICMP_HEADER, w->p.v6, BY_VIRTUAL))
		return PASS;
	return relay_to_server(ctx, w);
}

/*
 * cache_bypass: a transparent cache has no server left, so clients get what they asked for from where they asked it
 * (ip_vs_leave).  Addresses of the director's own are nobody else's.
 */
static __noinline int is_bypass(ctx_t *ctx, struct walk *w)
{
	if (!w || !w->mark || !is_on(XLVS_SYSCTL_CACHE_BYPASS))
		return 0;
	hop_find(ctx, &w->p, &w->hop, &w->p.src, &w->p.dst, 0);
	return w->hop.rc >= 0 && w->hop.rc != BPF_FIB_LKUP_RET_NOT_FWDED;
}
#endif

#endif
