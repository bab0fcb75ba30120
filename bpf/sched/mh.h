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

#include "table.h"

#define XLVS_MH_KEY		2654435761ull	/* both halves */

#define ROTATE(v, by)		((v) << (by) | (v) >> (64 - (by)))

struct sip {
	__u64 a, b, c, d;
};

static __always_inline void sip_round(struct sip *v)
{
	v->a += v->b;
	v->b = ROTATE(v->b, 13) ^ v->a;
	v->a = ROTATE(v->a, 32);
	v->c += v->d;
	v->d = ROTATE(v->d, 16) ^ v->c;
	v->a += v->d;
	v->d = ROTATE(v->d, 21) ^ v->a;
	v->c += v->b;
	v->b = ROTATE(v->b, 17) ^ v->c;
	v->c = ROTATE(v->c, 32);
}

static __always_inline __u32 mh_hash(const struct seek *s, __u32 offset)
{
	__u64 message = 4ull << 56 | (__u32)(s->client + offset);	/* its length and its only word */
	struct sip v = {
		.a = 0x736f6d6570736575ull ^ XLVS_MH_KEY,
		.b = 0x646f72616e646f6dull ^ XLVS_MH_KEY,
		.c = 0x6c7967656e657261ull ^ XLVS_MH_KEY,
		.d = 0x7465646279746573ull ^ XLVS_MH_KEY ^ message,
	};

	sip_round(&v);
	v.a ^= message;
	v.c ^= 0xff;
	sip_round(&v);
	sip_round(&v);
	sip_round(&v);
	return (__u32)(v.a ^ v.b ^ v.c ^ v.d) % s->size;
}

static long mh_retry(__u32 i, struct seek *s)
{
	return look(s, mh_hash(s, (i + s->first) % s->size));
}

static __always_inline __u32 xlvs_mh(const struct xlvs_service *svc, const struct xlvs_addr *client, __be16 cport)
{
	struct seek s = {
		.key = svc->index,
		.size = svc->table_size,
		.client = fold(client, svc->sched_flags & XLVS_SCHED_F_PORT ? cport : 0),
		.choice = XLVS_NO_SERVER,
	};

	s.first = mh_hash(&s, 0);
	if (!look(&s, s.first) && may_retry(svc))
		bpf_loop(s.size, mh_retry, &s, 0);
	return s.choice;
}

#endif
