/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Everything that crosses the border between the kernel and user space.
 *
 * These are the only definitions: Python reads their layout from the compiled
 * object's BTF.  Addresses and ports are in network order, everything else is
 * in host order.  When what a pinned map holds changes, raise its version
 * (`schema_*` in maps.h) and add its line to tests/unit/dataplane/layouts.txt.
 */
#ifndef XLVS_ABI_H
#define XLVS_ABI_H

#include <linux/types.h>
#include <linux/bpf.h>

#define XLVS_ABI		3

/* Default sizes; the loader may choose others before the maps exist. */
#define XLVS_MAX_SERVICES	32768
#define XLVS_MAX_SERVERS	262144	/* at most 1 << XLVS_SERVER_BITS */
#define XLVS_MAX_BLOCKS		65536	/* blocks of slots, over all services */
#define XLVS_MAX_FLOWS		262144	/* of each family; the table has twice as many slots */
#define XLVS_MAX_SPILL		8192	/* flows that found no slot */
#define XLVS_MAX_ALIASES	65536
#define XLVS_MAX_WIDE		65536
#define XLVS_MAX_IMPORTS	4096
#define XLVS_MAX_HOPS		4096	/* a flow has 12 bits for each of its two */
#define XLVS_MAX_ADDRS		262144
#define XLVS_HINTS		1024	/* words of 16 hints: in all, as many as 32 - XLVS_HINT_SHIFT bits can tell apart */
#define XLVS_HINT_SHIFT		18
#define XLVS_HINT_FACTOR	0x9e3779b1u
#define XLVS_MAX_INTERFACES	4096	/* a power of two: an interface has the slot ifindex modulo this */
#define XLVS_MAX_FRAGMENTS	8192

#define XLVS_SLOTS_PER_BLOCK	16
#define XLVS_SERVICE_BLOCKS	64	/* so a service has at most 1024 servers */

enum xlvs_drop {
#define XLVS_DROP(number, name, text) XLVS_DROP_##name = number,
#include "tbl/drop.h"
#undef XLVS_DROP
	XLVS_DROPS,
};

enum xlvs_counter {
#define XLVS_COUNTER(number, name, text) XLVS_COUNT_##name = number,
#include "tbl/counter.h"
#undef XLVS_COUNTER
	XLVS_COUNTERS,
};

enum xlvs_sched {
#define XLVS_SCHED(number, name) XLVS_SCHED_##name = number,
#include "tbl/sched.h"
#undef XLVS_SCHED
	XLVS_SCHEDS,
};

enum xlvs_fwd {
#define XLVS_FWD(number, name) XLVS_FWD_##name = number,
#include "tbl/fwd.h"
#undef XLVS_FWD
	XLVS_FWDS,
};

enum xlvs_state {
#define XLVS_STATE(number, name, idle, active, reclaim) XLVS_STATE_##name = number,
#include "tbl/state.h"
#undef XLVS_STATE
};

#define XLVS_STATE_CODES	64	/* arrays by state have this size, so that masking bounds the index */

/* IPv4 is mapped: ::ffff:a.b.c.d. */
struct xlvs_addr {
	__u32	w[4];
};

struct xlvs_service_key {
	struct xlvs_addr addr;
	__be16	port;
	__u8	proto;		/* IPPROTO_TCP, IPPROTO_UDP */
	__u8	pad;
};

#define XLVS_SCHED_F_FALLBACK	(1 << 0)	/* flag-1: sh-fallback, mh-fallback */
#define XLVS_SCHED_F_PORT	(1 << 1)	/* flag-2: sh-port, mh-port */
#define XLVS_SCHED_F_3		(1 << 2)	/* flag-3 */

/*
 * What a choice among the servers of one virtual service depends on.  It all
 * hangs off this one value: user space prepares slots, table and scheduler
 * state at another block and the other index first.
 */
struct xlvs_service {
	__u32	index;		/* of sched_state and tables: 2 * number, or 2 * number + 1; the number's stats are service_stats */
	__u32	block;		/* first of this service's consecutive blocks of slots */
	__u32	n;		/* servers in the slots, newest first */
	__u32	table_size;	/* entries in tables[]: sh, mh, and rr and wrr that have a ring; otherwise 0 */
	__u32	max_weight;	/* wrr: mw = max weight - (gcd - 1) */
	__u32	gcd;		/* wrr: gcd of all weights */
	__u8	sched;		/* enum xlvs_sched */
	__u8	sched_flags;	/* XLVS_SCHED_F_* */
	__u8	present;	/* 0: there is no such service */
	__u8	pad;
};

/*
 * A service as it is, and as it will be when the word in `epoch` becomes
 * *turn* (0: nothing is coming).  A change of any number of services is
 * prepared while nobody sees it; one store of the epoch puts all of it in force.
 */
struct xlvs_versions {
	__u32	turn;
	__u32	pad;
	struct xlvs_service now;
	struct xlvs_service next;
};

/*
 * Whom a flow goes to, and how: a server's number with the forwarding method
 * above it.  In tables, XLVS_DRAINED marks a server of weight 0.
 */
#define XLVS_NUMBER_BITS	27
#define XLVS_DRAINED		(1u << XLVS_NUMBER_BITS)
#define XLVS_CHOICE_FWD_SHIFT	28
#define XLVS_NO_SERVER		0xffffffffu
#define CHOICE_NUMBER(choice)	((choice) & (XLVS_DRAINED - 1))
#define CHOICE_FWD(choice)	((choice) >> XLVS_CHOICE_FWD_SHIFT)

/* A server's place in its service.  Places move, server numbers do not. */
struct xlvs_slot {
	__u32	choice;		/* its number is the index of servers, loads, server_stats */
	__u32	weight;
};

struct xlvs_block {
	struct xlvs_slot slot[XLVS_SLOTS_PER_BLOCK];	/* behind the last server: weight 0 */
};

#define XLVS_LIFE_LIVE		(1 << 0)	/* configured; clear: deleted, its flows wait for it to come back */
#define XLVS_LIFE_TURN_SHIFT	1		/* above: the epoch at which that becomes its opposite; 0: never */

struct xlvs_server {
	struct xlvs_addr addr;
	struct xlvs_addr src;	/* the director's own address towards it: outer source, source of local clients and of ICMP errors; 0: none */
	struct xlvs_addr virt;	/* the service's address and port: what a reply is translated back to */
	__be16	vport;
	__be16	port;
	__u32	life;		/* XLVS_LIFE_* */
	__u32	service;	/* number of the service it belongs to */
	__u8	fwd;		/* enum xlvs_fwd, as configured last; a flow has its own */
	__u8	proto;
	__u16	pad;
};

/* Exact at all times: changed by whoever wins the compare-and-swap of a flow's word. */
struct xlvs_load {
	__s32	active;
	__s32	inactive;
};

/* Scheduler state: one word, replaced by compare-and-swap. */
struct xlvs_sched_state {
	__u32	pos;		/* place of the last choice; XLVS_POS_HEAD: before the first */
	__s32	cw;		/* wrr: current weight; of rr and wrr with a ring, the last choice's index in that, or -1 */
};

#define XLVS_POS_HEAD		0xffffffffu

struct xlvs_stats {
	__u64	conns;
	__u64	in_pkts;
	__u64	out_pkts;
	__u64	in_bytes;	/* from the IP header on */
	__u64	out_bytes;
};

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
	__u32	in_bytes;	/* from the IP header on, modulo 2^30; XLVS_FLOW_WIDE: and what `flow_wide` says */
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

#define XLVS_ADDR_VIP		(1 << 0)	/* a virtual address, or one with flows left */
#define XLVS_ADDR_SERVER	(1 << 1)	/* a real server behind nat */
#define XLVS_ADDR_DIRECTOR	(1 << 2)	/* an address that local clients of route and ipip appear from */

#define XLVS_IF_XMIT		(1 << 0)	/* XDP may redirect to it */
#define XLVS_IF_HEAL		(1 << 1)	/* hands XDP packets with partial checksums (veth, virtio) */

struct xlvs_interface {
	__u32	ifindex;	/* 0: nobody has the slot */
	__u16	flags;		/* XLVS_IF_* */
	__u8	mac[6];
};

/* While flows of another table are taken over, the program that works on it gets ... */
#define XLVS_HANDOVER_ALL	1	/* every packet whose flow is not here */
#define XLVS_HANDOVER_KNOWN	2	/* those that cannot open a flow */

struct xlvs_config {
	__u32	idle[XLVS_STATE_CODES];	/* idle timeout in jiffies per enum xlvs_state */
	__u32	lo;			/* ifindex of the loopback, for replies to local clients; 0: no local clients */
	__u32	icmp_per_second;	/* ICMP errors sent per CPU and second */
	__u32	hop_epoch;	/* user space counts it up when routes, addresses or interfaces change */
	__u32	abi;		/* XLVS_ABI */
	__u32	hz;		/* jiffies per second */
	__u32	handover;	/* XLVS_HANDOVER_* */
	__u32	handover_to;	/* which table takes over: the lower half of its seed[0] */
	__u32	moment_shift;	/* 2 to the power of this many jiffies are a moment, a bit less than half a second */
};

struct xlvs_frag_key {
	struct xlvs_addr src;
	struct xlvs_addr dst;
	__u32	id;
	__u32	proto;
};

struct xlvs_frag {
	__be16	sport;
	__be16	dport;
};

struct xlvs_sweeper {
	struct bpf_timer timer;
};

/* Quoted bytes of an ICMP error: at most 1280 - 40 - 8 (RFC 4443 §2.4), 576 - 20 - 8 for IPv4 (RFC 1812 §4.3.2.3). */
#define XLVS_QUOTE_V4		548
#define XLVS_QUOTE_V6		1232

struct xlvs_scratch {
	__u8	bytes[1280];
	__u64	second;		/* the rate limit's present second */
	__u64	sent;		/* ICMP errors sent in it */
};

#endif
