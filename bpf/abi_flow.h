/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flow table's part of abi.h: flows, where they lie, and what is remembered with them. */
#ifndef XLVS_ABI_FLOW_H
#define XLVS_ABI_FLOW_H

/*
 * A flow.  A connection has one, whichever way a packet of it comes: its place
 * follows from the client's address and port alone, so that with nat the
 * server's packets lead there, too.
 *
 * The first eight bytes, `ends`, are written while nobody reads the slot.  The
 * second eight, the `word`, are replaced by compare-and-swap alone: `life` says
 * whether the slot holds a flow, in which state, and whose.
 */
struct xlvs_flow {
	__u32	client;		/* the client's address; of an IPv6 address the last word */
	__be16	cport;
	__be16	vport;
	__u32	virt;		/* the virtual address, likewise */
	__u32	life;		/* XLVS_FLOW_*; 0 in a slot that never held a flow */
	__u32	seen;		/* jiffies of the last packet, their lower half */
	__u32	hops;		/* remembered next hops: tag, 12 bits towards the server, 12 towards the client */
	__u32	in_bytes;	/* from the IP header on, modulo 2^30; XLVS_FLOW_WIDE: and what `flow_wide` says.  Of a template: how many seconds it may be idle */
	__u32	out_bytes;
};

#define XLVS_FLOW_STATE		63		/* in the lowest bits of life: enum xlvs_state, exclusive-or XLVS_FLOW_FREE */
#define XLVS_FLOW_FREE		15		/* place of no state: the slot is free ... */
#define XLVS_FLOW_BUSY		14		/* ... or being filled */
#define XLVS_FLOW_CLASS		3		/* of the state: which protocol */
#define XLVS_FLOW_CLASS_SHIFT	4
#define XLVS_FLOW_FWD		7		/* enum xlvs_fwd: a flow keeps the method it began with */
#define XLVS_FLOW_FWD_SHIFT	6
#define XLVS_FLOW_LOCAL		(1 << 9)	/* the client is the director itself */
#define XLVS_FLOW_TAKEN_SHIFT	10		/* two bits, counted up each time the slot is taken */
#define XLVS_FLOW_SERVER_SHIFT	12		/* above: the server's number */
#define XLVS_SERVER_BITS	20
#define XLVS_FLOW_WIDE		(1u << 31)

/* A flow of IPv6, or one of either family that found no room in its buckets. */
struct xlvs_flow6 {
	struct xlvs_flow low;
	__u32	client[3];	/* the first words of both addresses */
	__u32	virt[3];
	__u64	pad;
};

/* Four slots: two cache lines with IPv4.  Whoever finds no room goes to the bucket beside, whose number differs in the lowest bit. */
#define XLVS_WAYS		4

struct xlvs_bucket {
	struct xlvs_flow flow[XLVS_WAYS];
};

struct xlvs_bucket6 {
	struct xlvs_flow6 flow[XLVS_WAYS];
};

/* Consecutive buckets and what inserting into them needs; those of IPv6 come behind those of IPv4. */
#define XLVS_STRIPE_SHIFT	6

struct xlvs_stripe {
	__u32	lock;		/* odd while a flow is entered; counted up by each */
	__u32	spilled;	/* flows of these buckets in `flow_spill` */
	__u32	used;		/* 0: nothing to sweep or to list here; 2: being swept */
	__u32	pad;
};

/* Where a flow is that found no room: by its client's endpoint, and a small number as there may be several. */
struct xlvs_spill_key {
	struct xlvs_addr client;
	__be16	cport;
	__u8	proto;
	__u8	way;
};

#define XLVS_SPILL_WAYS		4

/* What a flow's counters do not hold, by XLVS_PLACE_*. */
struct xlvs_wide {
	__u64	in_bytes;
	__u64	out_bytes;
};

/* A flow's place: number of its slot, with a mark of its table. */
#define XLVS_PLACE_V6		(1u << 31)
#define XLVS_PLACE_SPILL	(1u << 30)

/* How a reply to the director's own address, which stood in for a local client's, finds that client (route, ipip). */
struct xlvs_alias_key {
	struct xlvs_addr own;
	struct xlvs_addr virt;
	__be16	cport;
	__be16	vport;
	__u8	proto;
	__u8	pad[3];
};

/* What holds for the flow table as long as it lives. */
struct xlvs_head {
	__u64	seed[2];	/* of the hash; random, so that nobody can aim at a bucket */
	__u64	overflow_until;	/* jiffies; until then packets without a flow get the stateless choice */
	__u32	buckets[2];	/* of IPv4, of IPv6: even numbers */
	__u32	stripes[2];
	__u32	spill;		/* flows that may be in flow_spill; 0: none */
	__u32	zero;		/* always; see BLUR in buckets.h */
};

/* A flow of another table, to be taken over. */
struct xlvs_import {
	struct xlvs_addr client;
	struct xlvs_addr virt;
	__u32	ports;		/* the client's in the low half, as they lie in its packets */
	__u32	server;
	__u64	in_bytes;
	__u64	out_bytes;
	__u32	seen;		/* jiffies */
	__u8	proto;		/* 0: no more flows */
	__u8	v6;
	__u8	state;
	__u8	fwd;
	__u8	local;
	__u8	failed;		/* there was no room for it */
	__u8	pad[6];
};

/* Where the sweep goes on, and the kernel's two clocks at one moment. */
struct xlvs_sweep {
	__u32	stripe;
	__u32	pad;
	__u64	jiffies;
	__u64	ns;		/* CLOCK_MONOTONIC */
	__u64	rounds;		/* over the whole table */
};

/*
 * A next hop that flows remember, by its place.  Good for a moment (a bit
 * under half a second) after the routing table gave it last: whoever comes
 * later asks again.  While `stamp` is not older than XLVS_HOP_MOMENTS moments
 * nobody gives the place to another hop.
 */
struct xlvs_hop {
	__u64	dmac;		/* in the lower six bytes */
	__u64	smac;
	__u32	ifindex;
	__u32	mtu;
	__u32	stamp;		/* the moment, and the epoch, when it was asked for last; 0: never */
	__u32	xmit;		/* XDP may redirect to the interface */
};

#define XLVS_HOP_MOMENTS	16	/* after so many a flow forgets which its hops were */

#endif
