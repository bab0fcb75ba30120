/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lblc: locality-based least connections.
 *
 * The flows to a virtual address go to the server that the last one went to,
 * unless that has more active flows than its weight says while another has less
 * than half of its own.  Then, or if the server takes no new flows, or if no
 * flow to the address came for a day (lblc_expiration), it is the server that wlc would take.
 * (After ip_vs_lblc.c.)
 */
#ifndef XLVS_SCHED_LBLC_H
#define XLVS_SCHED_LBLC_H

#include "locality.h"
#include "wlc.h"

/* The server that is known, if it may be chosen. */
__noinline __u32 xlvs_lblc_known(const struct xlvs_service *svc, const struct xlvs_addr *virt)
{
	const struct xlvs_locality *l;
	const struct set *s;

	if (!svc || !virt)
		return XLVS_NO_SERVER;
	l = locality_find(svc, virt, second_now(), lblc_s());
	s = l ? look_at(svc, l) : NULL;
	return s && is_good(svc, &s->least) ? s->least.slot.choice : XLVS_NO_SERVER;
}

__noinline int xlvs_lblc_note(const struct xlvs_service *svc, const struct xlvs_addr *virt, __u32 choice)
{
	__u32 now = second_now();
	struct xlvs_locality *l;

	if (!svc || !virt)
		return 0;
	l = locality_find(svc, virt, now, lblc_s());
	if (l)
		WRITE_ONCE(l->server[0], CHOICE_NUMBER(choice));
	else
		locality_begin(CHOICE_NUMBER(choice), now);
	return 0;
}

static __always_inline __u32 xlvs_lblc(const struct xlvs_service *svc, const struct xlvs_addr *virt)
{
	__u32 choice = xlvs_lblc_known(svc, virt);

	if (choice != XLVS_NO_SERVER)
		return choice;
	choice = xlvs_wlc(svc);
	if (choice != XLVS_NO_SERVER)
		xlvs_lblc_note(svc, virt, choice);
	return choice;
}

#endif
