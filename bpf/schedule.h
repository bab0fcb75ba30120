/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who gets a new flow: the scheduler of its service says.
 *
 * Choices are exact: the same history gives the same sequence of servers as
 * IPVS.  What a scheduler remembers is one word per service, replaced by
 * compare-and-swap, because under bpf_spin_lock no map could be read.
 */
#ifndef XLVS_SCHEDULE_H
#define XLVS_SCHEDULE_H

#include "sched/dh.h"
#include "sched/fo.h"
#include "sched/lblc.h"
#include "sched/lblcr.h"
#include "sched/lc.h"
#include "sched/mh.h"
#include "sched/nq.h"
#include "sched/ovf.h"
#include "sched/rr.h"
#include "sched/sed.h"
#include "sched/sh.h"
#include "sched/stateless.h"
#include "sched/twos.h"
#include "sched/wlc.h"
#include "sched/wrr.h"

/*
 * The choice for a new flow of this client to this virtual address, or XLVS_NO_SERVER.  A global function, so that it is
 * verified once and on its own.  What needs room on the stack is in functions that it calls: the longest chain of them
 * decides whether all of it fits.
 */
__noinline __u32 xlvs_choose(const struct xlvs_service *svc, const struct xlvs_addr *client, const struct xlvs_addr *virt,
			     __u32 cport)
{
	if (!svc || !client || !virt)
		return XLVS_NO_SERVER;
	switch (svc->sched) {
	case XLVS_SCHED_rr:
		return xlvs_rr(svc);
	case XLVS_SCHED_wrr:
		return xlvs_wrr(svc);
	case XLVS_SCHED_lc:
		return xlvs_lc(svc);
	case XLVS_SCHED_wlc:
		return xlvs_wlc(svc);
	case XLVS_SCHED_sh:
		return xlvs_sh(svc, client, cport);
	case XLVS_SCHED_mh:
		return xlvs_mh(svc, client, cport);
	case XLVS_SCHED_lblc:
		return xlvs_lblc(svc, virt);
	case XLVS_SCHED_lblcr:
		return xlvs_lblcr(svc, virt);
	case XLVS_SCHED_dh:
		return xlvs_dh(svc, virt);
	case XLVS_SCHED_sed:
		return xlvs_sed(svc);
	case XLVS_SCHED_nq:
		return xlvs_nq(svc);
	case XLVS_SCHED_fo:
		return xlvs_fo(svc);
	case XLVS_SCHED_ovf:
		return xlvs_ovf(svc);
	case XLVS_SCHED_twos:
		return xlvs_twos(svc->block, svc->n, is_limited(svc));
	}
	return XLVS_NO_SERVER;
}

/* The choice for a flow that finds no room in the flow table: always the same while the servers are. */
static __always_inline __u32 xlvs_stateless(const struct xlvs_service *svc, const struct xlvs_addr *client, __be16 cport)
{
	return xlvs_rendezvous(svc->block, svc->n, client_hash(client, cport));
}

#endif
