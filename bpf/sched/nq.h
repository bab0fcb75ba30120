/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nq: never queue.
 *
 * Take a server without active flows, the newest of them; if all have some, the
 * one with the least (active flows + 1) / weight, as sed does.  Weight 0 takes no
 * new flow.  (After ip_vs_nq.c.)
 */
#ifndef XLVS_SCHED_NQ_H
#define XLVS_SCHED_NQ_H

#include "least.h"

static __always_inline __u32 xlvs_nq(const struct xlvs_service *svc)
{
	return xlvs_least(svc->block, svc->n, is_limited(svc), BY_WAIT);
}

#endif
