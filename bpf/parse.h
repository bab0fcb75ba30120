/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Step 1 of the walk: read Ethernet, IPv4 or IPv6, and TCP, UDP, ICMP or (TC) SCTP.
 *
 * Anything that is not whole is left to the host's own stack, which judges and
 * counts it as it always did; nothing is guessed.  Tagged frames are left to
 * the VLAN device above, which has a hook of its own.
 */
#ifndef XLVS_PARSE_H
#define XLVS_PARSE_H

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include "hook.h"

/* linux/in.h, linux/icmp.h and linux/icmpv6.h want a C library. */
#define IPPROTO_ICMP		1
#define IPPROTO_IPIP		4
#define IPPROTO_TCP		6
#define IPPROTO_UDP		17
#define IPPROTO_IPV6		41
#define IPPROTO_ESP		50
#define IPPROTO_AH		51
#define IPPROTO_ICMPV6		58
#define IPPROTO_SCTP		132
#define ICMP_DEST_UNREACH	3
#define ICMP_SOURCE_QUENCH	4
#define ICMP_TIME_EXCEEDED	11
#define ICMP_PORT_UNREACH	3
#define ICMP_FRAG_NEEDED	4
#define ICMPV6_DEST_UNREACH	1
#define ICMPV6_PKT_TOOBIG	2
#define ICMPV6_TIME_EXCEED	3
#define ICMPV6_PORT_UNREACH	4
#define ICMP_HEADER		8	/* bytes before an error's quote */

#define IP_MF			0x2000
#define IP_OFFSET		0x1fff
#define IP_DF			0x4000
#define NEXTHDR_HOP		0
#define NEXTHDR_ROUTING		43
#define NEXTHDR_FRAGMENT	44
#define NEXTHDR_DEST		60

#define FRAG_FIRST		1
#define FRAG_LATER		2
#define RELATED			3	/* no fragment, but without ports as one: see relate() */
#define PORT_ISAKMP		500

#define TCP_FIN			0x01
#define TCP_SYN			0x02
#define TCP_RST			0x04
#define TCP_ACK			0x10

#define SCTP_HEADER		12
#define CHUNK_ABORT		6
#define CHUNK_COOKIE_ECHO	10
#define CHUNK_COOKIE_ACK	11

/* What an SCTP packet means to IPVS's state machine. */
enum sctp_event {
	SCTP_DATA, SCTP_INIT, SCTP_INIT_ACK, SCTP_COOKIE_ECHO, SCTP_COOKIE_ACK, SCTP_SHUTDOWN, SCTP_SHUTDOWN_ACK,
	SCTP_SHUTDOWN_COMPLETE, SCTP_ERROR, SCTP_ABORT, SCTP_EVENTS, SCTP_NO_CHUNK = SCTP_EVENTS,
};

#define MAX_EXTENSION_HEADERS	6
/* Room for IPv4 with all options or IPv6 with some extensions, and behind it TCP, or ICMP with as much again. */
#define HEADERS			(ETH_HLEN + 160)

struct pkt {
	struct xlvs_addr src;
	struct xlvs_addr dst;
	__u32	id;		/* of the fragmented datagram */
	__u32	len;		/* bytes from the IP header on */
	__u16	l3;		/* offset of the IP header in the frame */
	__u16	l4;		/* offset of the transport header */
	union {
		struct {
			__be16	sport;
			__be16	dport;
		};
		__u32	ports;	/* both, as they lie in the packet */
	};
	__u8	v6;
	__u8	proto;
	union {
		__u8	tcp;	/* flags of a TCP segment */
		__u8	sctp;	/* enum sctp_event */
	};
	__u8	l4_len;		/* bytes of the transport header */
	__u8	ttl;		/* or hop limit */
	__u8	tos;		/* or traffic class */
	__u8	frag;		/* FRAG_*, RELATED; 0: whole */
	__u8	df : 1,		/* must not be fragmented on its way: DF, or IPv6 */
		heal : 1,	/* came in where checksums may be partial (XDP) */
		related : 1,	/* of the flow of another protocol */
		told : 1;	/* did not come itself: an ICMP error is about its flow (schedule_icmp) */
};

/*
 * What is read eight bytes at a time is written so: a load of bytes from two
 * earlier stores waits until both have left the CPU's buffer.
 */
typedef __u64 __attribute__((may_alias, aligned(4))) wide;

static __always_inline void set_v4(struct xlvs_addr *a, __be32 v4)
{
	wide *w = (void *)a;

	w[0] = 0;
	w[1] = (__u64)v4 << 32 | htonl(0xffff);
}

static __always_inline void set_v6(struct xlvs_addr *a, const struct in6_addr *v6)
{
	memcpy(a, v6, sizeof(*a));
}

static __always_inline int is_v4(const struct xlvs_addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == htonl(0xffff);
}

static __always_inline int same_addr(const struct xlvs_addr *a, const struct xlvs_addr *b)
{
	return a->w[3] == b->w[3] && a->w[2] == b->w[2] && a->w[1] == b->w[1] && a->w[0] == b->w[0];
}

static __always_inline int no_addr(const struct xlvs_addr *a)
{
	return !(a->w[0] | a->w[1] | a->w[2] | a->w[3]);
}

/* Several segments in one; their IP length is 0 if it would not fit the field (BIG TCP). */
static __always_inline int is_gso(ctx_t *ctx)
{
#ifdef XLVS_XDP
	(void)ctx;
	return 0;	/* XDP comes before GRO */
#else
	return ctx->gso_size != 0;
#endif
}

#define GSO_BY_FRAGS	0xffff	/* gso_size of a packet whose segments are of any size */

/*
 * Several SCTP packets, of one header and a list of what follows it in each.  Whatever else came into the header's
 * buffer would be taken for a packet of its own (net/sctp/inqueue.c, "cover letter").
 */
static __always_inline int is_list(ctx_t *ctx)
{
#ifdef XLVS_XDP
	(void)ctx;
	return 0;
#else
	return ctx->gso_size == GSO_BY_FRAGS;
#endif
}

#ifndef XLVS_XDP
/* Have the header bytes that are looked at where `at` finds them. */
static __always_inline void pull_headers(ctx_t *ctx)
{
	if (data_begin(ctx) + HEADERS > data_end(ctx) && !is_list(ctx))
		bpf_skb_pull_data(ctx, ctx->len < HEADERS ? ctx->len : HEADERS);
}
#endif

/* The IPv4 header at *l3*; false if it is no header, or longer than what arrived. */
static __always_inline int parse_v4(ctx_t *ctx, struct pkt *p)
{
	struct iphdr *ip = at(ctx, p->l3, sizeof(*ip));
	__u16 off;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return 0;
	p->len = ntohs(ip->tot_len);
	if (!p->len && is_gso(ctx))
		p->len = hook_len(ctx) - p->l3;
	p->l4 = p->l3 + ip->ihl * 4;
	if (p->len < ip->ihl * 4u || p->l3 + p->len > hook_len(ctx))
		return 0;
	off = ntohs(ip->frag_off);
	p->df = !!(off & IP_DF);
	if (off & (IP_MF | IP_OFFSET)) {
		p->frag = off & IP_OFFSET ? FRAG_LATER : FRAG_FIRST;
		p->id = ip->id;
	}
	p->proto = ip->protocol;
	p->ttl = ip->ttl;
	p->tos = ip->tos;
	set_v4(&p->src, ip->saddr);
	set_v4(&p->dst, ip->daddr);
	return 1;
}

struct ext {			/* how hop-by-hop, routing and destination options begin */
	__u8	next;
	__u8	words;		/* of 8 bytes, past the first */
};

struct frag_ext {
	__u8	next;
	__u8	reserved;
	__be16	off;
	__be32	id;
};

/* Skip extension headers (RFC 8200 §4.1); one that is beyond our patience is no protocol of ours. */
static __always_inline int parse_extensions(ctx_t *ctx, struct pkt *p, __u8 next)
{
	__u32 off = p->l3 + sizeof(struct ipv6hdr);
	int i;

	for (i = 0; i < MAX_EXTENSION_HEADERS; i++) {
		if (next == NEXTHDR_FRAGMENT) {
			struct frag_ext *f = at(ctx, off, sizeof(*f));

			if (!f)
				return 0;
			if (f->off & htons(0xfff9)) {	/* not an atomic fragment (RFC 6946) */
				p->frag = f->off & htons(0xfff8) ? FRAG_LATER : FRAG_FIRST;
				p->id = f->id;
			}
			next = f->next;
			off += sizeof(*f);
			if (p->frag == FRAG_LATER)
				break;
		} else if (next == NEXTHDR_HOP || next == NEXTHDR_ROUTING || next == NEXTHDR_DEST) {
			struct ext *e = at(ctx, off, sizeof(*e));

			if (!e)
				return 0;
			next = e->next;
			off += (e->words + 1) * 8;
		} else {
			break;
		}
		if (off > HEADERS)
			return 0;
	}
	p->proto = next;
	p->l4 = off;
	return 1;
}

static __always_inline int parse_v6(ctx_t *ctx, struct pkt *p)
{
	struct ipv6hdr *ip = at(ctx, p->l3, sizeof(*ip));

	if (!ip || ip->version != 6)
		return 0;
	p->v6 = 1;
	p->df = 1;
	p->len = ntohs(ip->payload_len) + sizeof(*ip);
	if (!ip->payload_len && is_gso(ctx))
		p->len = hook_len(ctx) - p->l3;
	if (p->l3 + p->len > hook_len(ctx))
		return 0;
	p->ttl = ip->hop_limit;
	p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	set_v6(&p->src, &ip->saddr);
	set_v6(&p->dst, &ip->daddr);
	return parse_extensions(ctx, p, ip->nexthdr);
}

#ifndef XLVS_XDP
/* By the type of a packet's first chunk; types beyond are data. */
static const __u8 sctp_events[16] = {
	SCTP_DATA, SCTP_INIT, SCTP_INIT_ACK, SCTP_DATA, SCTP_DATA, SCTP_DATA, SCTP_ABORT, SCTP_SHUTDOWN, SCTP_SHUTDOWN_ACK,
	SCTP_ERROR, SCTP_COOKIE_ECHO, SCTP_COOKIE_ACK, SCTP_DATA, SCTP_DATA, SCTP_SHUTDOWN_COMPLETE, SCTP_DATA,
};

struct chunk {
	__u8	type;
	__u8	flags;
	__be16	len;
};

/* Ports and first chunk of an SCTP packet; an ABORT may come behind a cookie (set_sctp_state). */
static __always_inline int parse_sctp(ctx_t *ctx, struct pkt *p)
{
	__u32 *header = at(ctx, p->l4, SCTP_HEADER), room = p->len - (p->l4 - p->l3), len;
	struct chunk first;
	__u8 second = 0;

	if (!header || p->l4 - p->l3 + SCTP_HEADER > p->len)
		return 0;
	p->l4_len = SCTP_HEADER;
	p->ports = *header;
	p->sctp = SCTP_NO_CHUNK;
	if (room < SCTP_HEADER + sizeof(first) || bpf_skb_load_bytes(ctx, p->l4 + SCTP_HEADER, &first, sizeof(first)))
		return 1;
	p->sctp = first.type < sizeof(sctp_events) ? sctp_events[first.type & 15] : SCTP_DATA;
	len = SCTP_HEADER + ((ntohs(first.len) + 3u) & ~3u);
	if ((first.type == CHUNK_COOKIE_ECHO || first.type == CHUNK_COOKIE_ACK) &&
	    ntohs(first.len) >= sizeof(first) && len + sizeof(first) <= room &&
	    !bpf_skb_load_bytes(ctx, p->l4 + len, &second, 1) && second == CHUNK_ABORT)
		p->sctp = SCTP_ABORT;
	return 1;
}
#endif

/*
 * ESP and AH follow the key exchange of the same two addresses, a flow of UDP from port 500 to port 500
 * (net/netfilter/ipvs/ip_vs_proto_ah_esp.c): from here on they are packets of it that hold no ports.
 */
static __always_inline int relate(struct pkt *p)
{
	if (p->proto != IPPROTO_ESP && p->proto != IPPROTO_AH)
		return 0;
	p->proto = IPPROTO_UDP;
	p->sport = p->dport = htons(PORT_ISAKMP);
	p->related = 1;
	if (p->frag != FRAG_LATER)
		p->frag = RELATED;
	return 1;
}

/* Ports of a TCP segment or UDP datagram; ICMP is looked into by icmp.h. */
static __always_inline int parse_l4(ctx_t *ctx, struct pkt *p)
{
#ifndef XLVS_XDP
	if (unlikely(p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP) && relate(p))
		return 1;
#endif
	if (p->frag == FRAG_LATER)
		return 1;
	if (p->proto == IPPROTO_TCP) {
		struct tcphdr *th = at(ctx, p->l4, sizeof(*th));

		if (!th || th->doff < 5 || p->l4 - p->l3 + th->doff * 4u > p->len)
			return 0;
		p->l4_len = th->doff * 4;
		p->ports = *(__u32 *)th;
		p->tcp = ((__u8 *)th)[13];
		return 1;
	}
	if (p->proto == IPPROTO_UDP) {
		struct udphdr *uh = at(ctx, p->l4, sizeof(*uh));

		if (!uh || p->l4 - p->l3 + sizeof(*uh) > p->len)
			return 0;
		p->l4_len = sizeof(*uh);
		p->ports = *(__u32 *)uh;
		return 1;
	}
#ifndef XLVS_XDP
	if (p->proto == IPPROTO_SCTP)
		return parse_sctp(ctx, p);
#endif
	if (p->proto == (p->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
		p->l4_len = ICMP_HEADER;
		return at(ctx, p->l4, ICMP_HEADER) && p->l4 - p->l3 + ICMP_HEADER <= p->len;
	}
	return 0;
}

/*
 * A global function, so that the verifier goes through the rest of the walk
 * once, not once for every way through here; XDP has fewer, and saves the call.
 */
#ifdef XLVS_XDP
#define PARSE	static __always_inline
#else
#define PARSE	__noinline
#endif

/* Fill *p*; false: not a whole packet of a kind we look at. */
PARSE int xlvs_parse(ctx_t *ctx, struct pkt *p)
{
	struct ethhdr *eth;
	int ok;

	if (!p)
		return 0;
#ifndef XLVS_XDP
	if (ctx->vlan_present)
		return 0;
	pull_headers(ctx);
#endif
	eth = at(ctx, 0, sizeof(*eth));
	if (!eth)
		return 0;
	memset(p, 0, sizeof(*p));
	p->l3 = ETH_HLEN;
	if (eth->h_proto == htons(ETH_P_IP))
		ok = parse_v4(ctx, p);
	else if (eth->h_proto == htons(ETH_P_IPV6))
		ok = parse_v6(ctx, p);
	else
		return 0;
	return ok && parse_l4(ctx, p);
}

#endif
