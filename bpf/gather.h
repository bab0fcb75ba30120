/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Put together the fragments of a tunnel's outer packet (RFC 791 §3.2), on a
 * real server.  A director leaves a packet without DF that does not fit to its
 * host's stack, which cuts the outer packet; the stack of this host would put
 * it together only behind the hook, where nobody unwraps it any more.
 *
 * Taken are fragments whose first one, which has the inner header, is for one
 * of our virtual addresses.  The first must come first, as every stack sends
 * it; the others may come in any order.  A packet that does not become whole
 * is forgotten when its place is needed, and taken for another after 30 s
 * (net.ipv4.ipfrag_time).  Every fragment writes into a place of its own, so
 * two CPUs may work on one packet.
 */
#ifndef XLVS_GATHER_H
#define XLVS_GATHER_H

#include "parse.h"

#define GATHERED_BYTES	9216	/* after the outer IP header: what a jumbo frame of 9000 holds, and its tunnel */
#define GATHERED_MASK	0x3fff	/* a power of two less one, and not less */
#define GATHERED_UNITS	(GATHERED_BYTES / 8)
#define GATHER_NS	30000000000ull

struct gathered {
	__be32	saddr;
	__be32	daddr;
	__be16	id;
	__u16	proto;
	__u32	got;		/* bytes that have come */
	__u32	whole;		/* bytes that there are; 0: the last fragment has not come */
	__u32	pad;
	__u64	until;		/* on the kernel's coarse clock */
	__u64	begun[GATHERED_UNITS / 64];	/* where fragments begin that have come, a bit for eight bytes */
	__u8	bytes[2 * GATHERED_BYTES];	/* twice: an offset and a length below GATHERED_BYTES are all the verifier sees */
};

/* K. A packet whose place is taken by a later one is lost. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);		/* a director has none; XLVS_GATHERING where it is used */
	__type(key, __u32);
	__type(value, struct gathered);
} gathering SEC(".maps");

static __always_inline struct gathered *gathered_at(const struct iphdr *ip)
{
	__u16 mixed = (ip->id ^ ip->saddr >> 16) * 40503;	/* Knuth, TAOCP 3, 6.4: 2^16 by the golden ratio */
	__u32 slot = mixed / (0x10000 / XLVS_GATHERING);

	return bpf_map_lookup_elem(&gathering, &slot);
}

/* The fragment's bytes to their place; false: they are none that can be taken. */
static __always_inline int gather_bytes(ctx_t *ctx, struct gathered *g, __u32 begin, __u32 len, int more)
{
	__u32 unit = begin / 8, word = unit / 64;
	__u64 bit = 1ull << (unit % 64);

	if (!len || len > GATHERED_BYTES || begin >= GATHERED_BYTES || begin + len > GATHERED_BYTES || (more && len % 8))
		return 0;
	if (word >= GATHERED_UNITS / 64 || __sync_fetch_and_or(&g->begun[word], bit) & bit)
		return 0;
	len = POSITIVE(len, GATHERED_MASK);
	barrier_var(begin);
	if (len > GATHERED_BYTES || begin >= GATHERED_BYTES)
		return 0;
	if (bpf_skb_load_bytes(ctx, ETH_HLEN + sizeof(struct iphdr), g->bytes + begin, len))
		return 0;
	if (!more)
		WRITE_ONCE(g->whole, begin + len);
	__sync_fetch_and_add(&g->got, len);
	return 1;
}

/* The first fragment of a packet for us, without IP options: keep it.  The verdict. */
static __noinline int gather_first(ctx_t *ctx)
{
	struct iphdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));
	struct gathered *g;
	__u32 len, i;

	if (!ip)
		return PASS;
	g = gathered_at(ip);
	if (!g)
		return PASS;
	g->until = 0;
	g->saddr = ip->saddr;
	g->daddr = ip->daddr;
	g->id = ip->id;
	g->proto = ip->protocol;
	g->got = 0;
	g->whole = 0;
	for (i = 0; i < GATHERED_UNITS / 64; i++)
		WRITE_ONCE(g->begun[i], 0);
	len = ntohs(ip->tot_len) - sizeof(*ip);
	if (!gather_bytes(ctx, g, 0, len, 1))
		return PASS;
	g->until = bpf_ktime_get_coarse_ns() + GATHER_NS;
	return GONE;
}

/* A later fragment.  0: it has become the whole packet, else the verdict's complement. */
static __noinline int gather_later(ctx_t *ctx)
{
	struct iphdr *ip = at(ctx, ETH_HLEN, sizeof(*ip));
	struct gathered *g;
	__u32 whole;
	int more;

	if (!ip || ip->ihl != 5)
		return ~PASS;
	g = gathered_at(ip);
	if (!g || g->until < bpf_ktime_get_coarse_ns())
		return ~PASS;
	if (g->saddr != ip->saddr || g->daddr != ip->daddr || g->id != ip->id || g->proto != ip->protocol)
		return ~PASS;
	more = !!(ip->frag_off & htons(IP_MF));
	/* One that cannot be taken is there already, or no part of any packet. */
	if (!gather_bytes(ctx, g, (ntohs(ip->frag_off) & IP_OFFSET) * 8, ntohs(ip->tot_len) - sizeof(*ip), more))
		return ~PASS;
	whole = READ_ONCE(g->whole);
	if (!whole || READ_ONCE(g->got) != whole)
		return ~GONE;
	g->until = 0;
	whole = POSITIVE(whole, GATHERED_MASK);
	if (whole > GATHERED_BYTES)
		return ~PASS;
	if (bpf_skb_change_tail(ctx, ETH_HLEN + sizeof(*ip) + whole, 0) ||
	    bpf_skb_store_bytes(ctx, ETH_HLEN + sizeof(*ip), g->bytes, whole, 0))
		return ~drop(XLVS_DROP_no_headroom);
	ip = at(ctx, ETH_HLEN, sizeof(*ip));
	if (!ip)
		return ~drop(XLVS_DROP_no_headroom);
	ip->frag_off = 0;
	ip->tot_len = htons(whole + sizeof(*ip));
	return 0;
}

#endif
