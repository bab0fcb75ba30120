/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gre: Generic Routing Encapsulation (RFC 2784): four bytes that name the inner
 * protocol, and with a checksum four more.  The checksum is over GRE header and
 * payload, without a pseudo-header.
 */
#ifndef XLVS_FWD_GRE_H
#define XLVS_FWD_GRE_H

#include "outer.h"

#define IPPROTO_GRE	47
#define GRE_CSUM	0x8000

struct gre_header {
	__be16	flags;
	__be16	protocol;	/* an EtherType */
	__u16	check;		/* with GRE_CSUM only */
	__be16	reserved;
};

#define GRE_BYTES(summed)	((summed) ? sizeof(struct gre_header) : 4)

/* The header at *off*; *sum* is the payload's. */
static __always_inline int gre_header(ctx_t *ctx, __u32 off, const struct pkt *p, int summed, __u64 sum)
{
	struct gre_header *gre = at(ctx, off, GRE_BYTES(0));
	__be16 protocol = p->v6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);

	if (!gre)
		return 0;
	gre->flags = summed ? htons(GRE_CSUM) : 0;
	gre->protocol = protocol;
	if (!summed)
		return 1;
	gre = at(ctx, off, sizeof(*gre));
	if (!gre)
		return 0;
	gre->check = ~csum_fold(sum + htons(GRE_CSUM) + protocol);
	gre->reserved = 0;
	return 1;
}

#endif
