/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sed: shortest expected delay.
 *
 * Take the server with the least (active flows + 1) / weight: the new one is
 * counted as if it were there already.  Of equals the newest; weight 0 takes no
 * new flow.  (After ip_vs_sed.c.)
 */
#ifndef XLVS_SCHED_SED_H
#define XLVS_SCHED_SED_H

#include "least.h"

static __always_inline __u32 xlvs_sed(const struct xlvs_service *svc)
{
	return xlvs_least(svc->block, svc->n, is_limited(svc), BY_DELAY);
}

#endif
