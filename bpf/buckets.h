/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flow table: where a flow lies, and how it is found.
 *
 * A bucket has four slots, a flow of IPv4 takes 32 bytes: one or two cache
 * lines for a known packet.  Client address, port and protocol are hashed to a
 * bucket, nothing else, so both directions of a connection look in the same
 * place: the client is the source of one and the destination of the other.  A
 * flow that finds its bucket full goes to the bucket beside it, and then to
 * the hash `flow_spill`, whose part is small.
 *
 * Finding takes no lock.  A slot may be given away and taken by another flow
 * at any moment, so what was read counts only if the word is the same after
 * the ends were read as it was before.  The writer (open.h) makes the word BUSY
 * before it touches the ends and replaces it when they are complete.  Loads
 * are ordered by x86-64; elsewhere each address depends on the value loaded
 * before (AFTER), which is as good.
 */
#ifndef XLVS_BUCKETS_H
#define XLVS_BUCKETS_H

#include "hook.h"
#include "tcp.h"
#include "sctp.h"

/* The word: life << 32 | virt. */
#define LIFE(word)		((__u32)((word) >> 32))
#define LIFE_STATE(life)	(((life) & XLVS_FLOW_STATE) ^ XLVS_FLOW_FREE)
#define LIFE_CLASS(life)	((life) >> XLVS_FLOW_CLASS_SHIFT & XLVS_FLOW_CLASS)
#define WORD_STATE(word)	LIFE_STATE(LIFE(word))
#define WORD_FWD(word)		(LIFE(word) >> XLVS_FLOW_FWD_SHIFT & XLVS_FLOW_FWD)
#define WORD_SERVER(word)	((__u32)((word) >> (32 + XLVS_FLOW_SERVER_SHIFT)))
#define WORD_LOCAL(word)	(LIFE(word) & XLVS_FLOW_LOCAL)
#define STATE_BITS		((__u64)XLVS_FLOW_STATE << 32)
#define WITH_STATE(word, state)	(((word) & ~STATE_BITS) | (__u64)((state) ^ XLVS_FLOW_FREE) << 32)
/* All but the place of the state, which the flow's packets change. */
#define IDENTITY		(~(15ull << 32))
#define IS_LIVE(word)		((WORD_STATE(word) & 15) < XLVS_FLOW_BUSY)

/* Zero, but not before *value* is known: added to an address, it keeps a later load behind an earlier one. */
#define AFTER(value) ({ __u64 zero_ = (value); asm volatile("%0 &= 0" : "+r"(zero_)); zero_; })

/*
 * *value* as something the verifier knows nothing about but that it is below
 * *limit*, a power of two: what follows is then gone through once, not once for
 * each value.
 */
#define BLUR(value, head, limit)	(((value) + READ_ONCE((head)->zero)) & ((limit) - 1))

/* No flow's last packet is this long ago: such an age is a clock that was read a moment earlier. */
#define AGE_AHEAD		0xf0000000u

enum { CLASS_TCP, CLASS_UDP, CLASS_SCTP, CLASS_TEMPLATE = XLVS_FLOW_CLASS, CLASS_NONE };

/* What flow a packet is of.  Without *reply* the other end is the virtual one, with it the real server. */
struct ends {
	const struct xlvs_addr *client;
	const struct xlvs_addr *other;
	__u32	ports;		/* the client's in the low half, as they lie in its packets */
	__u8	proto;
	__u8	reply;
	__u8	v6;
};

/*
 * The same by value, and a new flow's beginning: what the functions that are
 * verified once, on their own, can be given.
 */
struct key {
	struct xlvs_addr client;
	struct xlvs_addr other;
	__u32	ports;
	__u32	now;		/* jiffies */
	__u8	proto;
	__u8	reply;
	__u8	v6;
	__u8	state;		/* of the new flow */
	__u8	fwd;
	__u8	local;
	__u16	pad;
	__u32	server;		/* number */
	__u32	place;		/* where the flow was entered */
	__u32	version;	/* of the stripe's lock, from before the flow was looked for and not found */
	__u32	sought;		/* that look was for the flow of the packet at hand, in its own direction */
	__u64	word;		/* of the flow that xlvs_flow_seek found, or that was entered */
};

/* In the scratch map: behind what the rest uses, and off the walk's stack. */
#define KEY_AT		1024
#define SPILL_KEY_AT	1152

/* A flow as found, and the word it had. */
struct found {
	struct xlvs_flow *flow;
	struct xlvs_flow6 *flow6;	/* the same where its slot is a wide one; else NULL */
	__u64	word;
	__u32	place;		/* XLVS_PLACE_* */
};

#define NO_PLACE	0xffffffffu
#define PLACE_IDLE	(1ull << 32)	/* the flow there was idle for too long */

static __always_inline struct xlvs_config *the_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

/* One of IPVS's switches, XLVS_SYSCTL_*. */
static __always_inline int is_on(__u32 sysctl)
{
	struct xlvs_config *c = the_config();

	return c && c->sysctls & sysctl;
}

static __always_inline struct xlvs_head *the_head(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&flow_head, &zero);
}

/* Room for keys and values for which the stack has none, *at* so many bytes. */
static __always_inline void *scratch_at(__u32 at)
{
	__u32 zero = 0;
	struct xlvs_scratch *s = bpf_map_lookup_elem(&scratch, &zero);

	return s ? s->bytes + at : NULL;
}

/* The server of a number, or of a choice. */
static __always_inline struct xlvs_server *server_at(__u32 number)
{
	number = CHOICE_NUMBER(number);
	return bpf_map_lookup_elem(&servers, &number);
}

/*
 * The server's port for a flow of the virtual port *vport*.  Without one of its own it has that, and so has a passive
 * data connection of FTP; an active one comes from the port below (ip_vs_ftp.c).
 */
static __always_inline __be16 real_port(const struct xlvs_server *s, __be16 vport)
{
	if (unlikely(s->flags & XLVS_SERVER_FTP) && vport != s->vport)
		return ntohs(vport) + 1 == ntohs(s->vport) ? htons(ntohs(s->port) - 1) : vport;
	return s->port && !(s->flags & XLVS_SERVER_ANY_PORT) ? s->port : vport;
}

static __always_inline __u8 class_of(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return CLASS_TCP;
	case IPPROTO_UDP:
		return CLASS_UDP;
	case IPPROTO_SCTP:
		return CLASS_SCTP;
	case XLVS_PROTO_TEMPLATE:
		return CLASS_TEMPLATE;
	}
	return CLASS_NONE;
}

static __always_inline __u8 proto_of(__u8 class)
{
	return class == CLASS_TCP ? IPPROTO_TCP : class == CLASS_UDP ? IPPROTO_UDP
						: class == CLASS_SCTP ? IPPROTO_SCTP : XLVS_PROTO_TEMPLATE;
}

static __always_inline int is_template(__u8 state)
{
	return state >> XLVS_FLOW_CLASS_SHIFT == CLASS_TEMPLATE;
}

/* The first eight bytes of a flow from these ends; of a reply's the virtual port is not known. */
static __always_inline __u64 ends_of(const struct ends *e)
{
	return (__u64)e->ports << 32 | e->client->w[3];
}

/*
 * Multiply and shift, in three rounds with IPv6.  The seed is secret, so a
 * client cannot choose its ports for one bucket.
 */
static __always_inline __u32 bucket_of(const struct xlvs_head *h, const struct ends *e)
{
	__u64 x = (__u64)(e->ports & 0xffff) << 32 | (__u64)e->proto << 48 | e->client->w[3];

	if (e->v6) {
		x ^= (((__u64)e->client->w[0] << 32 | e->client->w[1]) ^ h->seed[1]) * 0x9fb21c651e98df25ull;
		x ^= x >> 29;
		x = (x ^ (__u64)e->client->w[2] << 7) * 0xd6e8feb86659fd93ull;
	}
	x = (x ^ h->seed[0]) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 32 ^ h->seed[1]) * 0x94d049bb133111ebull;
	return (x >> 32) * h->buckets[e->v6 & 1] >> 32;
}

static __always_inline struct ends ends_in(const struct key *k)
{
	struct ends e = { .client = &k->client, .other = &k->other, .ports = k->ports, .proto = k->proto,
			  .reply = k->reply, .v6 = k->v6 };

	return e;
}

static __always_inline int same_high(const struct xlvs_flow6 *f, const struct ends *e)
{
	const __u32 *c = e->client->w, *v = e->other->w;

	if (f->client[0] != c[0] || f->client[1] != c[1] || f->client[2] != c[2])
		return 0;
	return e->reply || (f->virt[0] == v[0] && f->virt[1] == v[1] && f->virt[2] == v[2]);
}

static __always_inline __u64 *word_at(struct xlvs_flow *flow)
{
	return (void *)flow + __builtin_offsetof(struct xlvs_flow, virt);
}

/* Is *flow*, a wide one or not, that of these ends?  Then *word* is its word. */
static __always_inline int flow_is(const struct xlvs_flow *flow, const struct ends *e, int wide, __u64 *word)
{
	__u64 mask = e->reply ? 0x0000ffffffffffffull : ~0ull;
	const volatile __u64 *w = (const void *)flow;
	__u64 want = ends_of(e), seen = w[0], first, again, between;

	if ((seen ^ want) & mask)
		return 0;
	first = w[1];
	if (!IS_LIVE(first) || LIFE_CLASS(LIFE(first)) != class_of(e->proto))
		return 0;
	if (e->reply) {
		struct xlvs_server *s = server_at(WORD_SERVER(first));

		if (!s || real_port(s, seen >> 48) != e->ports >> 16)
			return 0;
		if (WORD_FWD(first) != XLVS_FWD_nat || !same_addr(&s->addr, e->other))
			return 0;
	} else if ((__u32)first != e->other->w[3]) {
		return 0;
	}
	w = (const void *)w + AFTER(first);
	between = w[0];
	if (wide && !same_high((const void *)w, e))
		return 0;
	w = (const void *)w + AFTER(between);
	again = w[1];
	*word = again;
	return between == seen && !((first ^ again) & IDENTITY) && IS_LIVE(again);
}

static __always_inline struct xlvs_flow *slot_of(void *bucket, __u32 i, int v6)
{
	return bucket + i * (v6 ? sizeof(struct xlvs_flow6) : sizeof(struct xlvs_flow));
}

static __always_inline void *bucket_at(__u32 number, int v6)
{
	return v6 ? bpf_map_lookup_elem(&flows6, &number) : bpf_map_lookup_elem(&flows4, &number);
}

static __always_inline void *slot_at(__u32 number, __u32 slot, int v6)
{
	void *bucket = bucket_at(number, v6);

	if (!bucket)
		return NULL;
	barrier_var(bucket);	/* the verifier adds nothing to what may still be NULL */
	return slot_of(bucket, slot & (XLVS_WAYS - 1), v6);
}

static __always_inline __u32 place_of(__u32 bucket, int slot, int v6)
{
	return (bucket * XLVS_WAYS + slot) | (v6 ? XLVS_PLACE_V6 : 0);
}

/*
 * The slot of this bucket that holds the flow of these ends; XLVS_WAYS: none.
 * A number, not a pointer: behind four pointers the verifier would go through
 * the rest of the walk four times.
 */
static __always_inline __u32 bucket_find(void *bucket, const struct ends *e, int v6, __u64 *word)
{
	__u32 i;

#pragma unroll
	for (i = 0; i < XLVS_WAYS; i++)
		if (flow_is(slot_of(bucket, i, v6), e, v6, word))
			break;
	return i;
}

/* Begin to load a bucket that will be looked at soon. */
static __always_inline void bring(__u32 number, int v6)
{
	struct xlvs_flow *first = bucket_at(number, v6);

	if (!first)
		return;
	READ_ONCE(first->life);
	READ_ONCE(first[2].life);
}

/*
 * The flow of these ends, idle for too long or not, if it is in its own bucket: nearly all are.  A packet that *opens*
 * flows will likely not find it; then the bucket beside is next.
 */
static __always_inline int find_in_first(struct found *found, const struct xlvs_head *h, const struct ends *e, int opens, int v6)
{
	__u32 number = bucket_of(h, e), slot;
	void *bucket = bucket_at(number, v6);

	if (!bucket)
		return 0;
	if (unlikely(opens))
		bring(number ^ 1, v6);
	slot = bucket_find(bucket, e, v6, &found->word);
	if (slot >= XLVS_WAYS)
		return 0;
	slot = BLUR(slot, h, XLVS_WAYS);
	found->flow = slot_of(bucket, slot, v6);
	found->flow6 = v6 ? (void *)found->flow : NULL;
	found->place = place_of(number, slot, v6);
	return 1;
}

static __always_inline int find_first(struct found *found, const struct ends *e, int opens)
{
	struct xlvs_head *h = the_head();

	if (!h)
		return 0;
	if (e->v6)
		return find_in_first(found, h, e, opens, 1);
	return find_in_first(found, h, e, opens, 0);
}

static __always_inline __u32 stripe_number(const struct xlvs_head *h, __u32 bucket, int v6)
{
	return (bucket >> XLVS_STRIPE_SHIFT) + (v6 ? h->stripes[0] : 0);
}

static __always_inline struct xlvs_stripe *stripe_of(const struct xlvs_head *h, __u32 bucket, int v6)
{
	__u32 number = stripe_number(h, bucket, v6);

	return bpf_map_lookup_elem(&flow_stripes, &number);
}

#endif
