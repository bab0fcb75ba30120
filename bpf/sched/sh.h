/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * sh: source hashing.
 *
 * The client's address (with sh-port: plus its port) is multiplied by 2^32
 * over the golden ratio, and the upper 8 bits of the product are an index of a
 * table of 256 server numbers, where each server holds as many entries in a
 * row as its weight says.  With sh-fallback the entries behind an unusable
 * one are tried at index + hash, where index runs from the hash once around
 * the table.  (After ip_vs_sh.c.)
 */
#ifndef XLVS_SCHED_SH_H
#define XLVS_SCHED_SH_H

#include "table.h"

static __always_inline __u32 sh_hash(const struct seek *s, __u32 offset)
{
	return (offset + golden_hash(s->word)) % s->size;
}

static long sh_retry(__u32 i, struct seek *s)
{
	return look(s, sh_hash(s, (i + s->first) % s->size));
}

__noinline __u32 xlvs_sh(const struct xlvs_service *svc, const struct xlvs_addr *client, __u32 cport)
{
	struct seek s;

	if (!svc || !client)
		return XLVS_NO_SERVER;
	s = seek_in(svc, client, svc->sched_flags & XLVS_SCHED_F_PORT ? cport : 0);
	s.first = sh_hash(&s, 0);
	if (!look(&s, s.first) && may_retry(svc))
		bpf_loop(s.size, sh_retry, &s, 0);
	return s.choice;
}

#endif
