/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wrr: weighted round robin.
 *
 * Walk the servers in rounds.  A round has a current weight cw and takes every
 * server of at least that weight.  After a round cw falls by the greatest
 * common divisor of all weights; when nothing is left of it the next round
 * starts at the top again, where cw is the largest weight less (divisor - 1),
 * so that the lowest round is the one with cw = 1.  (After ip_vs_wrr.c.)
 *
 * Since cw is never above the largest weight, a whole round always finds a
 * server: the rest of this round and one more are all there is to search.
 *
 * That is a look at every server of the service when one is much heavier than
 * the others.  So a service of more than a few servers of different weights has
 * a ring of all rounds (ring.h).  Without a ring is only one whose rounds have
 * more than 65536 entries together: the sum of the weights over their divisor.
 * There a choice passes over up to 1024 servers, a microsecond.  A service with
 * thresholds has no ring either.
 */
#ifndef XLVS_SCHED_WRR_H
#define XLVS_SCHED_WRR_H

#include "heaviest.h"
#include "ring.h"

/*
 * The walk of a service with thresholds goes on round after round while those heavy enough for one are overloaded: to
 * the first round that the heaviest of the others is in.  0: there are no others.
 */
static __always_inline __s32 round_of_some(const struct xlvs_service *svc, __s32 cw)
{
	__s32 weight = xlvs_heaviest(svc->block, svc->n, 1, 0) >> 32;

	if (!weight)
		return 0;
	weight -= svc->gcd - 1;
	return cw < weight ? cw : weight;
}

__noinline __u32 xlvs_wrr(const struct xlvs_service *svc)
{
	__u64 *state = svc ? state_of(svc) : NULL, found = XLVS_NOWHERE;
	__s32 top;
	int i;

	if (!svc || !state)
		return XLVS_NO_SERVER;
	top = svc->max_weight;
	if (top <= 0)
		return XLVS_NO_SERVER;
	if (svc->table_size)
		return xlvs_ring(svc, state);
	for (i = 0; i < XLVS_SCHED_TRIES; i++) {
		__u64 old = READ_ONCE(*state);
		__s32 cw = old >> 32;

		if (cw <= 0 || cw > top)
			cw = top;
		found = xlvs_find(svc->block, (__u32)old + 1, svc->n, cw, is_limited(svc));
		if (found == XLVS_NOWHERE) {
			cw -= svc->gcd;
			if (cw <= 0)
				cw = top;
			if (is_limited(svc))
				cw = round_of_some(svc, cw);
			found = cw ? xlvs_find(svc->block, 0, svc->n, cw, is_limited(svc)) : XLVS_NOWHERE;
		}
		if (found == XLVS_NOWHERE) {
			/* All are overloaded.  IPVS has then gone through all rounds, and begins anew unless this was the last. */
			cw = old >> 32;
			if (cw > (__s32)svc->gcd || (__u32)old == XLVS_POS_HEAD)
				__sync_val_compare_and_swap(state, old, (__u64)top << 32 | XLVS_POS_HEAD);
			break;
		}
		if (__sync_val_compare_and_swap(state, old, (__u64)cw << 32 | found >> 32) == old)
			break;
	}
	return (__u32)found;
}

#endif
