/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fragments (TC only).  The first one carries the ports and is remembered; the
 * later ones follow it.  A later fragment that comes first is left to the stack.
 */
#ifndef XLVS_FRAG_H
#define XLVS_FRAG_H

#include "parse.h"

static __noinline int frag_ports(struct pkt *p)
{
	struct xlvs_frag *seen, first = {};
	struct xlvs_frag_key k = {};

	if (!p)
		return 0;
	k.src = p->src;
	k.dst = p->dst;
	k.id = p->id;
	k.proto = p->proto;
	first.sport = p->sport;
	first.dport = p->dport;
	if (p->frag == FRAG_FIRST)
		return !bpf_map_update_elem(&fragments, &k, &first, BPF_ANY);
	seen = bpf_map_lookup_elem(&fragments, &k);
	if (!seen)
		return 0;
	p->sport = seen->sport;
	p->dport = seen->dport;
	return 1;
}

#endif
