/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rr: round robin.
 *
 * Take the next server with a weight that is not overloaded, beginning behind
 * the place of the last choice and, past the last place, again at the first.
 * The last choice itself comes last.  How large a weight is does not matter.
 * (After ip_vs_rr.c.)
 *
 * A service of more than a few servers, some of them of weight 0, has a ring of
 * the others (ring.h), so that the next one need not be searched for.  One with
 * thresholds has none.
 */
#ifndef XLVS_SCHED_RR_H
#define XLVS_SCHED_RR_H

#include "ring.h"

__noinline __u32 xlvs_rr(const struct xlvs_service *svc)
{
	__u64 *state = svc ? state_of(svc) : NULL, found = XLVS_NOWHERE;
	int i;

	if (!svc || !state)
		return XLVS_NO_SERVER;
	if (svc->table_size)
		return xlvs_ring(svc, state);
	for (i = 0; i < XLVS_SCHED_TRIES; i++) {
		__u64 old = READ_ONCE(*state);
		__u32 from = (__u32)old + 1;	/* 0 after XLVS_POS_HEAD */

		found = xlvs_find(svc->block, from, svc->n, 1, is_limited(svc));
		if (found == XLVS_NOWHERE)
			found = xlvs_find(svc->block, 0, svc->n, 1, is_limited(svc));
		if (found == XLVS_NOWHERE)
			break;
		if (__sync_val_compare_and_swap(state, old, found >> 32) == old)
			break;
	}
	return (__u32)found;
}

#endif
