/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SipHash-1-3 of one 32-bit word, cut to 32 bits, with which mh of IPVS hashes
 * clients and servers (hsiphash_1u32 of lib/siphash.c on 64-bit machines).
 */
#ifndef XLVS_SCHED_SIPHASH_H
#define XLVS_SCHED_SIPHASH_H

#include "helpers.h"

/* Each is both halves of a key: of a client's or a server's first entry, and of a server's steps from there. */
#define XLVS_MH_KEY		2654435761ull
#define XLVS_MH_SKIP_KEY	2654446892ull

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

static __always_inline __u32 siphash(__u32 word, __u64 key)
{
	__u64 message = 4ull << 56 | word;	/* its length and its only word */
	struct sip v = {
		.a = 0x736f6d6570736575ull ^ key,
		.b = 0x646f72616e646f6dull ^ key,
		.c = 0x6c7967656e657261ull ^ key,
		.d = 0x7465646279746573ull ^ key ^ message,
	};

	sip_round(&v);
	v.a ^= message;
	v.c ^= 0xff;
	sip_round(&v);
	sip_round(&v);
	sip_round(&v);
	return v.a ^ v.b ^ v.c ^ v.d;
}

#endif
