/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ovf: weighted overflow.
 *
 * Take the server with the largest weight, the newest of equals, among those
 * with no more active flows than their weight: a server of weight 3 takes four.
 * When all are full the flow is refused.  (After ip_vs_ovf.c.)
 */
#ifndef XLVS_SCHED_OVF_H
#define XLVS_SCHED_OVF_H

#include "heaviest.h"

static __always_inline __u32 xlvs_ovf(const struct xlvs_service *svc)
{
	return xlvs_heaviest(svc->block, svc->n, is_limited(svc), 1);
}

#endif
