/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the director itself answers as a real server behind nat (TC egress): no hook saw it come in, and it leaves by
 * its own address.  On its way out it gets the virtual one (the hook of IPVS at NF_INET_LOCAL_OUT).
 */
#ifndef XLVS_RETURN_H
#define XLVS_RETURN_H

#include "walk.h"

static __always_inline int go_out(ctx_t *ctx)
{
	const struct xlvs_addr *virt;
	struct xlvs_server *s;
	struct walk w;

	if (!xlvs_parse(ctx, &w.p) || !(addr_hint(&w.p.src) & XLVS_ADDR_SERVER))
		return PASS;
	w.p.heal = 0;
	w.local = 0;
	w.mark = 0;
	w.now = bpf_jiffies64();
	if (is_icmp_error(ctx, &w.p))
		return quoted_find(ctx, &w, 0) ? relay_to_client(ctx, &w) : PASS;
	if ((w.p.proto != IPPROTO_TCP && w.p.proto != IPPROTO_UDP && w.p.proto != IPPROTO_SCTP) ||
	    (w.p.frag && !w.p.related && !frag_ports(&w.p)) || !reply_find(&w))
		return PASS;
	s = server_at(w.server);
	if (!s || !same_addr(&s->src, &s->addr) || WORD_FWD(w.found.word) != XLVS_FWD_nat || WORD_LOCAL(w.found.word))
		return PASS;
	virt = virtual_end(&w, s);
	if (!virt)
		return drop(XLVS_DROP_busy);
	account(&w, s, 1);
	return nat_to_client(ctx, &w.p, virt, virtual_port(&w, s), 0) ? PASS : drop(XLVS_DROP_no_headroom);
}

#endif
