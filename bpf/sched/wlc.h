/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wlc: weighted least connections.
 *
 * Take the server with the least overhead / weight, where overhead is 256
 * times its active flows plus its inactive ones; of equals the newest.
 * Division loses the remainder, so two servers are compared by
 * cross-multiplying: a is better than b when overhead_a * weight_b <
 * overhead_b * weight_a.  Overheads stay below 2^32 and weights below 2^31, so
 * the products fit.  (After ip_vs_wlc.c.)
 */
#ifndef XLVS_SCHED_WLC_H
#define XLVS_SCHED_WLC_H

#include "least.h"

static __always_inline __u32 xlvs_wlc(const struct xlvs_service *svc)
{
	/* Of the same weight, they need not be multiplied. */
	return xlvs_least(svc->block, svc->n, is_limited(svc), svc->flags & XLVS_SERVICE_EVEN ? BY_OVERHEAD : BY_OVERHEAD_SHARE);
}

#endif
