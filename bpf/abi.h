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

#define XLVS_ABI		4

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
#define XLVS_MAX_PREFIXES	4096	/* for which packets get a firewall mark from us */
#define XLVS_MAX_MATCHES	16	/* rules that hold for an address */
#define XLVS_MAX_SHIFTS		16384	/* FTP control connections whose sequence numbers are shifted */
#define XLVS_MAX_CALLS		16384	/* Call-IDs whose text is known */
#define XLVS_CALL_MAX		255	/* bytes of a Call-ID (ip_vs.h, IP_VS_PEDATA_MAXLEN) */
#define XLVS_SIP_TEXT		2048	/* bytes of a message that are read */
#define XLVS_FTP_TEXT		128	/* bytes of a line that are read */
#define XLVS_MAX_LOCALITIES	16384	/* as many as IPVS keeps for a service */
#define XLVS_GATHERING		128	/* tunnelled packets of which a real server has some fragments; a power of two */

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
	__u8	proto;		/* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, XLVS_PROTO_MARK */
	__u8	pad;
};

/*
 * Of a service that is known by a firewall mark: the mark, in network order, is the last word of the address, the port
 * is 0.  The words before say which family: those of a mapped IPv4 address, or zeros.
 */
#define XLVS_PROTO_MARK		255
#define XLVS_PROTO_TEMPLATE	254	/* only in the flow table: see template.h */

/*
 * Which packets get a firewall mark from us: what is found at the longest prefix of the virtual address, the first
 * that fits.  IPv4 addresses are mapped ones, their prefixes 96 bits longer.
 */
struct xlvs_match_key {
	__u32	length;
	struct xlvs_addr addr;
};

struct xlvs_match {
	__u32	mark;		/* 0: there are no more */
	__u16	low, high;	/* ports */
	__u8	proto;		/* 0: each */
	__u8	family;		/* 4 or 6 */
	__u16	pad;
};

struct xlvs_matches {
	struct xlvs_match match[XLVS_MAX_MATCHES];
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
	__u8	flags;		/* XLVS_SERVICE_* */
	__u32	persistent;	/* seconds that a client keeps its server after its last connection; 0: it does not */
	__u32	mask;		/* which clients are one: of IPv4 a mask as it lies in a packet, of IPv6 the length of a prefix */
	__u8	engine;		/* XLVS_ENGINE_* */
	__u8	pad[3];
};

#define XLVS_SERVICE_OPS	(1 << 0)	/* one-packet scheduling: no flows */
#define XLVS_SERVICE_LIMITED	(1 << 1)	/* some of its servers have thresholds */
#define XLVS_SERVICE_EVEN	(1 << 2)	/* its servers have the same weight, or 0 */

/* How a persistent service tells clients apart, beside their addresses. */
#define XLVS_ENGINE_NONE	0
#define XLVS_ENGINE_SIP		1	/* by the Call-ID */

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
 * above it.  In tables, XLVS_DRAINED marks a server of weight 0.  In the first
 * slot of a block, XLVS_RUN says that its servers' numbers fall one by one, and
 * are of one page of overheads.
 */
#define XLVS_NUMBER_BITS	26
#define XLVS_RUN		(1u << XLVS_NUMBER_BITS)
#define XLVS_DRAINED		(1u << 27)
#define XLVS_CHOICE_FWD_SHIFT	28
#define XLVS_NO_SERVER		0xffffffffu
#define CHOICE_NUMBER(choice)	((choice) & (XLVS_RUN - 1))
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
	__u8	proto;		/* of its service; 0: there is no such server */
	__u16	flags;		/* XLVS_SERVER_* */
};

#define XLVS_SERVER_LIMITED	(1 << 0)	/* has thresholds */
#define XLVS_SERVER_PERSISTENT	(1 << 1)	/* its service is persistent */
#define XLVS_SERVER_QUIESCENT	(1 << 2)	/* and its weight is 0 */
#define XLVS_SERVER_FTP		(1 << 4)	/* behind nat, with control connections of FTP: a flow of another port than the service's is a data connection */
#define XLVS_SERVER_ANY_PORT	(1 << 3)	/* nat leaves the port that the client asked for */

/* What few packets need to know about a server. */
struct xlvs_options {
	__u32	upper;		/* connections from which on it takes no more; 0: no limit */
	__u32	lower;		/* and below which it does again; 0: three quarters of that */
	__u32	mask;		/* of its service, if that is persistent */
	__be16	tunnel_port;	/* gue: UDP port that it listens on */
	__u8	tunnel_flags;	/* XLVS_TUNNEL_* */
	__u8	pad;
};

/* gue, gre: the checksum in the outer header; with neither there is none. */
#define XLVS_TUNNEL_CSUM	(1 << 0)
#define XLVS_TUNNEL_REMCSUM	(1 << 1)	/* gue: the inner one's offload is passed on */

/* Exact at all times: changed by whoever wins the compare-and-swap of a flow's word. */
struct xlvs_load {
	__s32	active;
	__s32	inactive;
	__s32	persistent;	/* templates */
	__u32	overloaded;	/* the upper threshold that was reached; 0: none, or since then the lower one was */
};

/* The same as lc and wlc want it, 256 * active + inactive, so close together that they can look at every server. */
#define XLVS_PAGE_SERVERS	1024

struct xlvs_page {
	__u32	pad[XLVS_SLOTS_PER_BLOCK];	/* in the place of servers that a block does not have */
	__u32	overhead[XLVS_PAGE_SERVERS];
};

/* Scheduler state: one word, replaced by compare-and-swap. */
struct xlvs_sched_state {
	__u32	pos;		/* place of the last choice; XLVS_POS_HEAD: before the first */
	__s32	cw;		/* wrr: current weight; of rr and wrr with a ring, the last choice's index in that, or -1; lblc, lblcr: second of the first choice */
};

#define XLVS_POS_HEAD		0xffffffffu

/* Of lblc and lblcr: a service's virtual address, and the servers that its flows go to. */
struct xlvs_locality_key {
	struct xlvs_addr virt;
	__u32	service;	/* its number */
};

#define XLVS_LOCALITY_SERVERS	16

struct xlvs_locality {
	__u32	used;		/* second of CLOCK_MONOTONIC; a day later it counts no more */
	__u32	changed;	/* likewise; `lblcr_s` later lblcr gives up the server with the most load */
	__u32	n;
	__u32	pad;
	__u32	server[XLVS_LOCALITY_SERVERS];	/* numbers, in the order they came */
};

struct xlvs_stats {
	__u64	conns;
	__u64	in_pkts;
	__u64	out_pkts;
	__u64	in_bytes;	/* from the IP header on */
	__u64	out_bytes;
};

#include "abi_flow.h"
#include "abi_text.h"

#define XLVS_ADDR_VIP		(1 << 0)	/* a virtual address, or one with flows left */
#define XLVS_ADDR_SERVER	(1 << 1)	/* a real server behind nat */
#define XLVS_ADDR_DIRECTOR	(1 << 2)	/* an address that local clients of route and ipip appear from */
#define XLVS_ADDR_FTP		(1 << 3)	/* a virtual address at which FTP may be spoken */

/* On a real server, above: the UDP port at which gue brings packets for the address. */
#define XLVS_ADDR_PORT_SHIFT	16

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
	__u32	sysctls;	/* XLVS_SYSCTL_*: those that are on */
	__u32	segmenter;	/* ifindex of the device that takes GSO packets and gives their segments back; 0: there is none */
	__u32	drop_rate;	/* one of so many new connections is refused; 0: none */
	__u32	marker;		/* ifindex of the device that packets leave by whose firewall mark may be a service's; 0: none is */
	__u32	engines;	/* how many services go by the Call-ID */
	__u32	matches;	/* how many prefixes of addresses have firewall marks from us */
	__u32	lblc_s;		/* seconds without a new flow after which lblc forgets a virtual address */
	__u32	lblcr_s;	/* the same of lblcr, and how long its sets stay as large as they are */
};

/* Of a packet at the marker, its priority: it had no DF, which Netfilter has set. */
#define XLVS_MARKER_NO_DF	0x786c6466

#define XLVS_SEGMENTER_MAC	0x02786c767301	/* of the end where segments come in; 02 and "xlvs" */

/* The switches of IPVS that packets are asked for. */
#define XLVS_SYSCTL_SLOPPY_TCP		(1 << 0)
#define XLVS_SYSCTL_SLOPPY_SCTP		(1 << 1)
#define XLVS_SYSCTL_EXPIRE_NODEST	(1 << 2)
#define XLVS_SYSCTL_EXPIRE_QUIESCENT	(1 << 3)
#define XLVS_SYSCTL_NAT_ICMP_SEND	(1 << 4)
#define XLVS_SYSCTL_SCHEDULE_ICMP	(1 << 5)
#define XLVS_SYSCTL_IGNORE_TUNNELED	(1 << 6)
#define XLVS_SYSCTL_BACKUP_ONLY		(1 << 7)
#define XLVS_SYSCTL_CACHE_BYPASS	(1 << 8)
#define XLVS_SYSCTL_PMTU_DISC		(1 << 9)
#define XLVS_SYSCTL_SECURE_TCP		(1 << 10)
#define XLVS_SYSCTL_REUSE		(1 << 11)
#define XLVS_SYSCTL_REUSE_NO_OUTPUT	(1 << 12)
#define XLVS_SYSCTL_SNAT_REROUTE	(1 << 13)
#define XLVS_SYSCTL_DROP_ENTRY		(1 << 14)

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
