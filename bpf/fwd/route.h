/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * route: direct routing.  The packet keeps its addresses and goes to the real
 * server's MAC; the server owns the virtual address on its loopback and answers
 * the client itself.  The TTL is counted down as by any router.
 */
#ifndef XLVS_FWD_ROUTE_H
#define XLVS_FWD_ROUTE_H

#include "../hop.h"

static __always_inline int route_to_server(ctx_t *ctx, struct pkt *p)
{
	return age(ctx, p, 1);
}

#endif
