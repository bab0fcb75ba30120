/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wlc: weighted least connections.
 *
 * Take the server with the least overhead / weight, where overhead is 256
 * times its active flows plus its inactive ones; of equals the newest.
 * Division loses the remainder, so two servers are compared by
 * cross-multiplying: a is better than b when overhead_a * weight_b <
 * overhead_b * weight_a.  Overheads stay below 2^40 and weights below 2^16, so
 * the products fit.  (After ip_vs_wlc.c.)
 */
#ifndef XLVS_SCHED_WLC_H
#define XLVS_SCHED_WLC_H

#include "slots.h"

static __always_inline __u32 xlvs_wlc(const struct xlvs_service *svc)
{
	return xlvs_least(svc->block, svc->n, 1);
}

#endif
