/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ipip: IP in IP (RFC 2003, RFC 2473, RFC 4213), all four mixes of families.  outer.h says what the header is like. */
#ifndef XLVS_FWD_IPIP_H
#define XLVS_FWD_IPIP_H

#include "outer.h"

static __always_inline int ipip_to_server(ctx_t *ctx, struct pkt *p, const struct xlvs_server *s)
{
	__u8 proto = p->v6 ? IPPROTO_IPV6 : IPPROTO_IPIP;

	if (!age(ctx, p, 1))
		return 0;
	if (is_v4(&s->addr))
		return make_room(ctx, sizeof(struct iphdr), 1, 0) && outer_v4(ctx, p, s, proto, 0, p->ttl);
	return make_room(ctx, sizeof(struct ipv6hdr), 0, 0) && outer_v6(ctx, p, s, proto, 0);
}

#endif
