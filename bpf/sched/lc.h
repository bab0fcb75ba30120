/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lc: least connections.
 *
 * Take the server with the least overhead, which is 256 times its active flows
 * plus its inactive ones; of equals the newest.  Weight 0 takes no new flow,
 * otherwise weights do not matter.  (After ip_vs_lc.c.)
 */
#ifndef XLVS_SCHED_LC_H
#define XLVS_SCHED_LC_H

#include "least.h"

static __always_inline __u32 xlvs_lc(const struct xlvs_service *svc)
{
	return xlvs_least(svc->block, svc->n, is_limited(svc), BY_OVERHEAD);
}

#endif
