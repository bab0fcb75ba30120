/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Firewall marks: Netfilter sets them after our hooks at the ingress have run.
 * A chain of ours behind the mangle chains therefore duplicates packets that
 * may be a service's to a device, the marker, and drops the originals; at the
 * marker's egress the walk begins, with the mark.  What it does not take leaves
 * the marker and comes in again at its other end, where no chain of ours looks.
 */
#ifndef XLVS_MARKER_H
#define XLVS_MARKER_H

#include "csum.h"

/* Undo what the duplication did (nf_dup_ipv4, nf_dup_ipv6): it counted the TTL down, and set DF. */
static __always_inline int unmark(ctx_t *ctx)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));

	if (!eth)
		return 0;
	if (eth->h_proto == htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));

		if (!ip)
			return 0;
		ip->hop_limit++;
	} else {
		struct iphdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));
		__u64 from, to;

		if (!ip || eth->h_proto != htons(ETH_P_IP))
			return 0;
		from = (__u64)ip->ttl + ip->frag_off;
		ip->ttl++;
		if (ctx->priority == XLVS_MARKER_NO_DF)
			ip->frag_off &= ~htons(IP_DF);
		to = (__u64)ip->ttl + ip->frag_off;
		ip->check = csum_replace(ip->check, from, to);
	}
	ctx->priority = 0;
	return 1;
}

#endif
