/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * dh: destination hashing.
 *
 * The virtual address is hashed as by sh, and is an index of a table of 256
 * entries in which the servers take turns, whatever their weights.  When the
 * server found there is unusable the flow is refused.  (After ip_vs_dh.c.)
 */
#ifndef XLVS_SCHED_DH_H
#define XLVS_SCHED_DH_H

#include "table.h"

static __always_inline __u32 xlvs_dh(const struct xlvs_service *svc, const struct xlvs_addr *virt)
{
	struct seek s = seek_in(svc, virt, 0);

	look(&s, golden_hash(s.word));
	return s.choice;
}

#endif
