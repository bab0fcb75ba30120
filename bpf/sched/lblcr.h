/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lblcr: locality-based least connections with replication.
 *
 * The flows to a virtual address go to a set of servers, and of these to the one
 * with the least overhead for its weight.  If that has more active flows than
 * its weight says while another server of the service has less than half of its
 * own, or if there is none that takes new flows, the server that wlc would take
 * comes into the set and gets the flow.  A set of several that has not changed
 * for a day (lblcr_expiration) gives up the one with the most overhead for its
 * weight.  (After ip_vs_lblcr.c.)
 *
 * A set has room for 16; whoever comes then takes the place of a server that is
 * not there any more, or of the most loaded one.  IPVS knows no such limit.
 */
#ifndef XLVS_SCHED_LBLCR_H
#define XLVS_SCHED_LBLCR_H

#include "locality.h"
#include "wlc.h"

/* Whom the set can best do without. */
static __always_inline __u32 dispensable(const struct set *s)
{
	__u32 i;

	for (i = 0; i < XLVS_LOCALITY_SERVERS; i++)
		if (i < s->n && !(s->found >> i & 1))
			return i;
	return s->most.at;
}

/* Give one up; the others keep their order. */
static __always_inline void set_shrink(struct xlvs_locality *l, const struct set *s, __u32 now)
{
	__u32 i, at = dispensable(s);

	for (i = 0; i < XLVS_LOCALITY_SERVERS - 1; i++)
		if (i >= at)
			WRITE_ONCE(l->server[i], s->server[i + 1]);
	WRITE_ONCE(l->n, s->n - 1);
	WRITE_ONCE(l->changed, now);
}

static __always_inline void set_add(struct xlvs_locality *l, const struct set *s, __u32 server, __u32 now)
{
	__u32 i, n = READ_ONCE(l->n), at = n;

	for (i = 0; i < XLVS_LOCALITY_SERVERS; i++)
		if (i < n && READ_ONCE(l->server[i]) == server)
			return;
	if (n >= XLVS_LOCALITY_SERVERS)
		at = dispensable(s);
	if (at >= XLVS_LOCALITY_SERVERS)
		return;
	WRITE_ONCE(l->server[at], server);
	if (at == n)
		WRITE_ONCE(l->n, n + 1);
	WRITE_ONCE(l->changed, now);
}

/* The least loaded of the set, if it may be chosen. */
__noinline __u32 xlvs_lblcr_known(const struct xlvs_service *svc, const struct xlvs_addr *virt)
{
	__u32 now = second_now();
	struct xlvs_locality *l;
	const struct set *s;

	if (!svc || !virt)
		return XLVS_NO_SERVER;
	l = locality_find(svc, virt, now, lblcr_s());
	s = l ? look_at(svc, l) : NULL;
	if (!l || !s)
		return XLVS_NO_SERVER;
	if (s->n > 1 && now - READ_ONCE(l->changed) > lblcr_s())
		set_shrink(l, s, now);
	return is_good(svc, &s->least) ? s->least.slot.choice : XLVS_NO_SERVER;
}

__noinline int xlvs_lblcr_note(const struct xlvs_service *svc, const struct xlvs_addr *virt, __u32 choice)
{
	const struct set *s = set_scratch(0);	/* as it was looked at just before */
	__u32 now = second_now();
	struct xlvs_locality *l;

	if (!svc || !virt || !s)
		return 0;
	l = locality_find(svc, virt, now, lblcr_s());
	if (l)
		set_add(l, s, CHOICE_NUMBER(choice), now);
	else
		locality_begin(CHOICE_NUMBER(choice), now);
	return 0;
}

static __always_inline __u32 xlvs_lblcr(const struct xlvs_service *svc, const struct xlvs_addr *virt)
{
	__u32 choice = xlvs_lblcr_known(svc, virt);

	if (choice != XLVS_NO_SERVER)
		return choice;
	choice = xlvs_wlc(svc);
	if (choice != XLVS_NO_SERVER)
		xlvs_lblcr_note(svc, virt, choice);
	return choice;
}

#endif
