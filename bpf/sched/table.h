/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A look into the table of a service: what sh, dh and mh have in common.
 *
 * User space fills the table; a hash, of the client or of the virtual address,
 * is an index of it.  When the server found there takes no new flows (its weight
 * is 0, or it is overloaded), the flow is refused or, with the fallback flag,
 * the table is tried at further hashes of the same client until one does.
 */
#ifndef XLVS_SCHED_TABLE_H
#define XLVS_SCHED_TABLE_H

#include "slots.h"

struct seek {
	__u32 key;		/* of the table, in `tables` */
	__u32 size;
	__u32 word;		/* what is hashed */
	__u32 first;		/* the index tried before all others */
	__u32 limited;
	__u32 choice;
};

/* Address and port as the one number that IPVS hashes. */
static __always_inline __u32 fold(const struct xlvs_addr *addr, __be16 port)
{
	__u32 word = addr->w[3];

	if (addr->w[0] || addr->w[1] || addr->w[2] != htonl(0xffff))
		word ^= addr->w[0] ^ addr->w[1] ^ addr->w[2];
	return ntohl(word) + ntohs(port);
}

static __always_inline struct seek seek_in(const struct xlvs_service *svc, const struct xlvs_addr *addr, __be16 port)
{
	return (struct seek){
		.key = svc->index,
		.size = svc->table_size,
		.word = fold(addr, port),
		.limited = is_limited(svc),
		.choice = XLVS_NO_SERVER,
	};
}

/* The upper 8 bits of the product with 2^32 over the golden ratio (hash_32() of linux/hash.h). */
static __always_inline __u32 golden_hash(__u32 word)
{
	return word * 0x61C88647u >> 24;
}

/* Look at one entry; non-zero: the search is over, and the answer is in s->choice. */
static __always_inline long look(struct seek *s, __u32 index)
{
	const __u32 *entry;
	__u32 choice;
	void *table;

	table = bpf_map_lookup_elem(&tables, &s->key);
	if (!table)
		return 1;
	entry = bpf_map_lookup_elem(table, &index);
	if (!entry)
		return 1;
	choice = *entry;
	if (choice == XLVS_NO_SERVER)
		return 1;
	if (choice & XLVS_DRAINED || (s->limited && xlvs_overloaded(CHOICE_NUMBER(choice))))
		return 0;
	s->choice = choice;
	return 1;
}

/* With every server at weight 0, or overloaded, there is nothing to seek: a whole table per packet would be an attacker's gift. */
static __always_inline int may_retry(const struct xlvs_service *svc)
{
	return svc->sched_flags & XLVS_SCHED_F_FALLBACK && xlvs_find(svc->block, 0, svc->n, 1, is_limited(svc)) != XLVS_NOWHERE;
}

#endif
