/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mh: Maglev hashing.
 *
 * The client's address (with mh-port: plus its port) is hashed with SipHash-1-3
 * under a fixed key, and the lower 32 bits modulo the table's size, a prime,
 * are an index of a table that user space fills so that a change of servers
 * moves few clients.  With mh-fallback, further hashes of the client plus 0, 1,
 * 2 ... are tried while the entry is unusable, beginning with the first index
 * and once around the table.  (After ip_vs_mh.c, siphash.c.)
 */
#ifndef XLVS_SCHED_MH_H
#define XLVS_SCHED_MH_H

#include "siphash.h"
#include "table.h"

static __always_inline __u32 mh_hash(const struct seek *s, __u32 offset)
{
	return siphash(s->word + offset, XLVS_MH_KEY) % s->size;
}

static long mh_retry(__u32 i, struct seek *s)
{
	return look(s, mh_hash(s, (i + s->first) % s->size));
}

__noinline __u32 xlvs_mh(const struct xlvs_service *svc, const struct xlvs_addr *client, __u32 cport)
{
	struct seek s;

	if (!svc || !client)
		return XLVS_NO_SERVER;
	s = seek_in(svc, client, svc->sched_flags & XLVS_SCHED_F_PORT ? cport : 0);
	s.first = mh_hash(&s, 0);
	if (!look(&s, s.first) && may_retry(svc))
		bpf_loop(s.size, mh_retry, &s, 0);
	return s.choice;
}

#endif
