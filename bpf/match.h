/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firewall marks by rules of our own, which need no Netfilter: the packet gets
 * one before its flow is looked for, on every hook.
 */
#ifndef XLVS_MATCH_H
#define XLVS_MATCH_H

#include "find.h"

static __always_inline int has_matches(void)
{
	struct xlvs_config *c = the_config();

	return c && unlikely(c->matches);
}

static __always_inline int is_match(const struct xlvs_match *m, const struct pkt *p)
{
	__u16 port = ntohs(p->dport);

	return m->family == (p->v6 ? 6 : 4) && (!m->proto || m->proto == p->proto) && m->low <= port && port <= m->high;
}

/* The mark of the first rule that fits; 0: none does.  Global: the verifier looks at it once, by itself. */
__noinline __u32 xlvs_match_mark(const struct walk *w)
{
	struct xlvs_match_key k;
	struct xlvs_matches *found;
	__u32 i;

	if (!w)
		return 0;
	k.length = 8 * sizeof(k.addr);
	k.addr = w->p.dst;
	found = bpf_map_lookup_elem(&matches, &k);
	if (!found)
		return 0;
	for (i = 0; i < XLVS_MAX_MATCHES && found->match[i].mark; i++)
		if (is_match(&found->match[i], &w->p))
			return found->match[i].mark;
	return 0;
}

/* There are services by mark, and this hook does not know any: a packet that may open a flow goes on to Netfilter. */
static __always_inline int awaits_mark(const struct walk *w, int local, int marked)
{
	struct xlvs_config *c = the_config();

	return !local && !marked && !w->mark && c && unlikely(c->marker);
}

#endif
