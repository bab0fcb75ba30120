/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tunnels that ask for more than one outer IP header: gue and gre, and ipip
 * where it is not worth to be fast.
 *
 * Checksums in the outer header.  Without one, each segment of a GSO packet gets
 * the same outer headers but for their lengths, which the kernel sees to.  One
 * that covers the payload would have to differ from segment to segment, and TC
 * has no way to ask for it: bpf_skb_adjust_room sets SKB_GSO_UDP_TUNNEL and
 * SKB_GSO_GRE, never the kinds whose names end in _CSUM.  So a GSO packet that
 * needs one is sent through a device of ours, a veth without segmentation
 * offload, whose other end gives back its segments, and those are wrapped one by
 * one.  XDP sees no GSO packets, but leaves to TC what needs the payload read.
 *
 * A packet whose own checksum is still partial has one all the same, in time,
 * and then its transport part sums to the complement of the pseudo-header: all
 * that is needed for the outer checksum (Documentation/networking/
 * checksum-offloads.rst, local checksum offload).  That a checksum is partial is
 * seen by its value, the sum of the bare pseudo-header.  A complete one may be
 * that by chance, but then both ways come to the same, also on the far side of
 * remote checksum offload.
 */
#ifndef XLVS_FWD_TUNNEL_H
#define XLVS_FWD_TUNNEL_H

#include "gre.h"
#include "gue.h"

#define TUNNEL_SUMMED	(1u << 31)	/* in xlvs_tunnel_room()'s answer: with a checksum over the payload */
#define TUNNEL_ROOM(answer)	((answer) & 0xff)

static __always_inline struct xlvs_options *options_at(__u32 number)
{
	number = CHOICE_NUMBER(number);
	return bpf_map_lookup_elem(&server_options, &number);
}

static __always_inline int holds_pseudo_sum(ctx_t *ctx, const struct pkt *p)
{
	__u16 *check;

	if (p->frag || !has_ports(p))
		return 0;
	check = at(ctx, l4_check_off(p), 2);
	return check && *check == csum_fold(pseudo_sum(p));
}

/* XLVS_TUNNEL_* as they hold for this packet: with REMCSUM it is sent that way, with anything there is a checksum. */
static __always_inline __u32 tunnel_flags(ctx_t *ctx, const struct pkt *p, __u32 number, __u32 fwd)
{
	struct xlvs_options *o = options_at(number);

	if (fwd == XLVS_FWD_ipip || !o || !o->tunnel_flags)
		return 0;
	if (fwd == XLVS_FWD_gue && o->tunnel_flags & XLVS_TUNNEL_REMCSUM && holds_pseudo_sum(ctx, p))
		return XLVS_TUNNEL_CSUM | XLVS_TUNNEL_REMCSUM;
	return XLVS_TUNNEL_CSUM;
}

/* Bytes between the outer IP header and the packet. */
static __always_inline __u32 tunnel_bytes(__u32 fwd, __u32 flags)
{
	if (fwd == XLVS_FWD_gue)
		return GUE_BYTES(flags & XLVS_TUNNEL_REMCSUM);
	return fwd == XLVS_FWD_gre ? GRE_BYTES(flags) : 0;
}

/* How much the packet grows on its way to the server, and TUNNEL_SUMMED. */
__noinline __u32 xlvs_tunnel_room(ctx_t *ctx, const struct pkt *p, __u32 number, __u32 fwd)
{
	struct xlvs_server *s = server_at(number);
	__u32 flags;

	if (!p || !s)
		return 0;
	flags = tunnel_flags(ctx, p, number, fwd);
	return outer_room(s) + tunnel_bytes(fwd, flags) + (flags ? TUNNEL_SUMMED : 0);
}

#ifndef XLVS_XDP

#define SUM_CHUNK	512	/* as much as bpf_csum_diff takes */
#define SUM_CHUNKS	129	/* 64 KiB: no packet is longer */

/* Sum of *len* bytes of the packet at *off*. */
__noinline __u64 xlvs_sum(ctx_t *ctx, __u32 off, __u32 len)
{
	struct xlvs_scratch *s = scratch_at(0);
	__u32 sum = 0, i;

	if (!s)
		return 0;
	for (i = 0; i < SUM_CHUNKS && len >= SUM_CHUNK; i++) {
		if (bpf_skb_load_bytes(ctx, off, s->bytes, SUM_CHUNK))
			return 0;
		sum = bpf_csum_diff(NULL, 0, (void *)s->bytes, SUM_CHUNK, sum);
		off += SUM_CHUNK;
		len -= SUM_CHUNK;
	}
	for (i = 0; i < SUM_CHUNK / 8; i++)
		WRITE_ONCE(((__u64 *)s->bytes)[i], 0);	/* plain stores would become a call of memset */
	len &= SUM_CHUNK - 1;
	if (len && bpf_skb_load_bytes(ctx, off, s->bytes, POSITIVE(len, SUM_CHUNK - 1)))
		return 0;
	return csum_fold((__u32)bpf_csum_diff(NULL, 0, (void *)s->bytes, SUM_CHUNK, sum));
}

#define UNMARK_TAIL	64

/*
 * Take the mark CHECKSUM_PARTIAL off a packet and leave its bytes as they are: nobody shall complete its checksum but
 * the far end of the tunnel.  The kernel drops the mark when the place where summing begins is cut off
 * (skb_postpull_rcsum), so everything up to there is cut off and put back.  A longer tail meanwhile keeps the packet
 * from being too short for that.
 */
__noinline int xlvs_unmark(ctx_t *ctx, const struct pkt *p)
{
	struct xlvs_scratch *s = scratch_at(0);
	__u32 n, len = ctx->len;

	if (!p || !s)
		return 0;
	n = POSITIVE(p->l4 + 2, 255);
	if (bpf_skb_change_tail(ctx, len + UNMARK_TAIL, 0) || bpf_skb_load_bytes(ctx, ETH_HLEN, s->bytes, n))
		return 0;
	if (bpf_skb_adjust_room(ctx, -(int)n, BPF_ADJ_ROOM_MAC, 0) || bpf_skb_adjust_room(ctx, n, BPF_ADJ_ROOM_MAC, 0))
		return 0;
	if (bpf_skb_store_bytes(ctx, ETH_HLEN, s->bytes, POSITIVE(n, 255), 0))
		return 0;
	return !bpf_skb_change_tail(ctx, len, 0);
}

/* Sum of the packet as it will be when it arrives. */
static __always_inline __u64 inner_sum(ctx_t *ctx, const struct pkt *p, __u32 flags)
{
	if (flags & XLVS_TUNNEL_REMCSUM || !holds_pseudo_sum(ctx, p))
		return xlvs_sum(ctx, p->l3, p->len);
	return xlvs_sum(ctx, p->l3, p->l4 - p->l3) + (__u16)~csum_fold(pseudo_sum(p));
}

#endif

/* What xlvs_tunnel() is told: method, TTLs that the outer header has more than the inner one, flags, the inner sum. */
#define HOW(fwd, hops, flags, sum)	((fwd) | (__u64)(hops) << 8 | (__u64)(flags) << 16 | (__u64)(sum) << 32)
#define HOW_FWD(how)			((__u8)(how))
#define HOW_HOPS(how)			((__u8)((how) >> 8))
#define HOW_FLAGS(how)			((__u8)((how) >> 16))
#define HOW_SUM(how)			((how) >> 32)

/*
 * Make the packet what it is to be within the tunnel, and say how to wrap it; 0: there was no room.  Not within
 * xlvs_tunnel(): the stack would not hold both.
 */
__noinline __u64 xlvs_tunnel_begin(ctx_t *ctx, struct pkt *p, __u32 number, __u32 fwd, __u32 hops)
{
	__u32 flags = 0;
	__u64 sum = 0;

	if (!p || !age(ctx, p, 1))
		return 0;
#ifndef XLVS_XDP
	/* Without a device to cut it up, a GSO packet goes without the checksum. */
	flags = is_gso(ctx) ? 0 : tunnel_flags(ctx, p, number, fwd);
	if (flags & XLVS_TUNNEL_REMCSUM && !xlvs_unmark(ctx, p))
		return 0;
	if (flags)
		sum = csum_fold(inner_sum(ctx, p, flags));
#else
	barrier_var(number);	/* else the compiler leaves it out where it calls, and the verifier misses it */
#endif
	return HOW(fwd, hops, flags, sum);
}

/* Wrap the packet for the server of this number; 0: there was no room.  These are verified once, on their own. */
__noinline int xlvs_tunnel(ctx_t *ctx, const struct pkt *p, __u32 number, __u64 how)
{
	struct xlvs_options *o = options_at(number);
	struct xlvs_server *s = server_at(number);
	__u32 bytes, ip_bytes, flags = HOW_FLAGS(how);
	__u8 proto, fwd = HOW_FWD(how);
	__u64 l4 = 0;
	int v4;

	if (!p || !s || !o || !how)
		return 0;
	v4 = is_v4(&s->addr);
	bytes = tunnel_bytes(fwd, flags);
	ip_bytes = outer_room(s);
	proto = p->v6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
	if (fwd == XLVS_FWD_gue) {
		proto = IPPROTO_UDP;
		l4 = BPF_F_ADJ_ROOM_ENCAP_L4_UDP;
	} else if (fwd == XLVS_FWD_gre) {
		proto = IPPROTO_GRE;
		l4 = BPF_F_ADJ_ROOM_ENCAP_L4_GRE;
	}
	if (!make_room(ctx, ip_bytes + bytes, v4, l4))
		return 0;
	if (!(v4 ? outer_v4(ctx, p, s, proto, bytes, p->ttl + HOW_HOPS(how)) : outer_v6(ctx, p, s, proto, bytes)))
		return 0;
	if (fwd == XLVS_FWD_gue)
		return gue_header(ctx, ETH_HLEN + ip_bytes, p, s, o->tunnel_port, flags, HOW_SUM(how));
	return fwd != XLVS_FWD_gre || gre_header(ctx, ETH_HLEN + ip_bytes, p, !!flags, HOW_SUM(how));
}

/* Send the packet on its way, which was found to be good, to the server of this number. */
static __always_inline int tunnel_to_server(ctx_t *ctx, struct pkt *p, __u32 number, __u32 fwd, __u32 hops)
{
	return xlvs_tunnel(ctx, p, number, xlvs_tunnel_begin(ctx, p, number, fwd, hops));
}

#endif
