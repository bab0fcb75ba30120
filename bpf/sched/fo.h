/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fo: weighted fail-over.
 *
 * Take the server with the largest weight, the newest of equals, whatever its
 * load: the others wait for it to go, or to reach its threshold.  (After
 * ip_vs_fo.c.)
 */
#ifndef XLVS_SCHED_FO_H
#define XLVS_SCHED_FO_H

#include "heaviest.h"

static __always_inline __u32 xlvs_fo(const struct xlvs_service *svc)
{
	return xlvs_heaviest(svc->block, svc->n, is_limited(svc), 0);
}

#endif
