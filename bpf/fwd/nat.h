/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat: masquerading.  The client's packet gets the real server's address and
 * port; the reply, which must come back through the director, gets the virtual
 * ones again.  A port 0 leaves the packet's.
 */
#ifndef XLVS_FWD_NAT_H
#define XLVS_FWD_NAT_H

#include "../hop.h"

static __always_inline int nat_to_server(ctx_t *ctx, struct pkt *p, const struct xlvs_server *s, int hops)
{
	return rewrite(ctx, p, 0, &s->addr, real_port(s, p->dport), hops);
}

static __always_inline int nat_to_client(ctx_t *ctx, struct pkt *p, const struct xlvs_addr *virt, __be16 vport, int hops)
{
	return rewrite(ctx, p, 1, virt, vport ? vport : p->sport, hops);
}

#endif
