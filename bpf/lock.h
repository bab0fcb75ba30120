/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The lock of a stripe, for whoever enters a flow: odd while it is held, and
 * two more after each holder, so that its number is a version of the stripe.
 */
#ifndef XLVS_LOCK_H
#define XLVS_LOCK_H

#include "hook.h"

/* Longer than it takes to enter a flow in the worst case, a full table with a full spill: some microseconds. */
#define LOCK_TRIES	4096

struct locking {
	__u32	stripe;
	__u32	version;	/* at which the lock was got; odd: it was not */
};

static long try_lock(__u32 i, struct locking *l)
{
	struct xlvs_stripe *stripe = bpf_map_lookup_elem(&flow_stripes, &l->stripe);
	__u32 version;

	(void)i;
	if (!stripe)
		return 1;
	version = READ_ONCE(stripe->lock);
	if (version & 1 || __sync_val_compare_and_swap(&stripe->lock, version, version + 1) != version)
		return 0;
	l->version = version;
	return 1;
}

#endif
