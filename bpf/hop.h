/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The next hop: ask the kernel's routing table, judge the size, leave.
 *
 * A packet without a neighbour entry must never reach the host's stack when
 * its address is still the virtual one: the stack owns that address and would
 * answer with a reset.  TC lets the kernel resolve the neighbour
 * (bpf_redirect_neigh); XDP leaves such packets to TC.
 */
#ifndef XLVS_HOP_H
#define XLVS_HOP_H

#include "csum.h"
#include "flow.h"

#define AF_INET		2
#define AF_INET6	10

struct hop {
	__u64	dmac;			/* in the lower six bytes */
	__u64	smac;
	__u32	ifindex;
	__u32	mtu;			/* of the path; also where the packet was too big for it */
	__u32	xmit;			/* XDP may redirect to the interface */
	int	rc;			/* BPF_FIB_LKUP_RET_*; negative: refused */
};

/* The routing table's last question and answer: in the scratch map, off the walk's stack. */
#define FIB_AT		1184

/* A packet on its way through the walk. */
struct walk {
	struct pkt p;
	struct found found;	/* flow is NULL: forwarded without one */
	struct hop hop;
	__u32	server;			/* without a flow: the choice */
	__u32	now;		/* jiffies, their lower half */
	int	local;		/* the client is the director itself (TC egress on lo); known at compile time where it is passed beside */
	__u32	mark;		/* the firewall's, where that is known; else 0 */
};

/* Bytes of the largest packet that this one becomes on the wire: a GSO packet leaves in segments. */
static __always_inline __u32 wire_len(ctx_t *ctx, const struct pkt *p)
{
#ifdef XLVS_XDP
	(void)ctx;
	return p->len;
#else
	if (unlikely(is_list(ctx)))	/* its sender has cut it to size */
		return p->l4 - p->l3 + p->l4_len;
	return ctx->gso_size ? p->l4 - p->l3 + p->l4_len + ctx->gso_size : p->len;
#endif
}

static __always_inline __u64 mac_word(const __u8 *mac)
{
	__u64 word = 0;

	memcpy(&word, mac, ETH_ALEN);
	return word;
}

static __always_inline __u32 may_xmit(__u32 ifindex)
{
	struct xlvs_interface *i = interface_of(ifindex);

	return i && i->flags & XLVS_IF_XMIT;
}

/*
 * Ask for the way from *src* to *dst* for a packet that grows by *room* bytes; returns BPF_FIB_LKUP_RET_* or a negative
 * number, the rest of the answer is in the scratch map.  A global function: verified once, not wherever a way is asked for.
 */
__noinline int xlvs_hop_ask(ctx_t *ctx, const struct pkt *p, const struct xlvs_addr *src, const struct xlvs_addr *dst, __u32 room)
{
	struct bpf_fib_lookup *fib = scratch_at(FIB_AT);
	__u32 len;

	if (!p || !src || !dst || !fib)
		return -1;
	len = wire_len(ctx, p) + room;
	memset(fib, 0, sizeof(*fib));
	if (is_v4(dst)) {
		fib->family = AF_INET;
		fib->tos = p->tos & 0x1c;
		fib->ipv4_src = src->w[3];
		fib->ipv4_dst = dst->w[3];
	} else {
		fib->family = AF_INET6;
		fib->flowinfo = htonl((__u32)p->tos << 20);
		memcpy(fib->ipv6_src, src, 16);
		memcpy(fib->ipv6_dst, dst, 16);
	}
	if (!room) {
		fib->l4_protocol = p->proto;
		fib->sport = p->sport;
		fib->dport = p->dport;
	}
	fib->tot_len = len > 0xffff ? 0xffff : len;
	fib->ifindex = hook_ifindex(ctx);
	return bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

static __always_inline void hop_find(ctx_t *ctx, const struct pkt *p, struct hop *hop, const struct xlvs_addr *src,
				     const struct xlvs_addr *dst, __u32 room)
{
	struct bpf_fib_lookup *fib = scratch_at(FIB_AT);

	hop->rc = fib ? xlvs_hop_ask(ctx, p, src, dst, room) : -1;
	if (!fib)
		return;
	hop->dmac = mac_word(fib->dmac);
	hop->smac = mac_word(fib->smac);
	hop->ifindex = fib->ifindex;
	hop->mtu = fib->mtu_result;
	hop->xmit = may_xmit(hop->ifindex);
}

/*
 * Flows remember their next hops as places in the array `hops`, where each
 * distinct next hop is once.  The place is good for XLVS_HOP_MOMENTS moments,
 * what it says for one: whoever comes first in a moment asks the routing table
 * again, for all flows that go there.  So with no daemon a neighbour that moves
 * is noticed within a moment, and a route that changes for some within eight
 * seconds; with a daemon both at once, as it counts the epoch up.
 */
#define HOP_TRIES	8
#define HOP_PLACE	(XLVS_MAX_HOPS - 1)
#define HOP_WRITING	1	/* a stamp that no moment has */

#define HOPS_TAG(hops)		((__u8)(hops))
#define HOPS_SHIFT(reply)	((reply) ? 20 : 8)

/* This moment, in this epoch; never 0. */
static __always_inline __u32 hop_stamp(__u32 now, const struct xlvs_config *c)
{
	return ((now >> (c->moment_shift & 31)) + c->hop_epoch * XLVS_HOP_MOMENTS) | 1u << 31;
}

/*
 * What a flow's places are marked with: they are not good beyond it, nor for the flow that has the slot next, even if
 * a packet of this one marks them when the slot has changed hands already.  A CPU that stands still for long enough
 * meets the same mark again, so the word is looked at as well.
 */
static __always_inline __u8 hop_tag(__u32 stamp, __u64 word)
{
	return stamp / XLVS_HOP_MOMENTS ^ LIFE(word) >> XLVS_FLOW_TAKEN_SHIFT << 6;
}

static __always_inline struct xlvs_hop *hop_at(__u32 place)
{
	place &= HOP_PLACE;
	return bpf_map_lookup_elem(&hops, &place);
}

/* The slot holds this flow yet; *after* is zero. */
static __always_inline int is_still(const struct found *found, __u64 after)
{
	struct xlvs_flow *flow = (void *)found->flow + after;

	return !((READ_ONCE(*word_at(flow)) ^ found->word) & IDENTITY);
}

/* Where the flow's next hop is kept; 0: it remembers none.  A flow that was not seen for so long may have met this tag before. */
static __always_inline __u32 hop_place(const struct found *found, __u32 stamp, __u32 now, const struct xlvs_config *c, int reply)
{
	__u32 hops = READ_ONCE(found->flow->hops);

	if (!is_still(found, AFTER(hops)) || HOPS_TAG(hops) != hop_tag(stamp, found->word))
		return 0;
	if (flow_age(found->flow, now) >> (c->moment_shift & 31) >= XLVS_HOP_MOMENTS)
		return 0;
	return hops >> HOPS_SHIFT(reply) & HOP_PLACE;
}

/* Take what *kept* says if it is of this moment; false: it is not, or the packet is too big for it. */
static __always_inline int hop_recall(struct hop *hop, const struct xlvs_hop *kept, __u32 stamp, __u32 len)
{
	__u32 was = READ_ONCE(kept->stamp);

	kept = (const void *)kept + AFTER(was);
	if (was != stamp || len > kept->mtu)
		return 0;
	hop->rc = BPF_FIB_LKUP_RET_SUCCESS;
	hop->ifindex = kept->ifindex;
	hop->dmac = kept->dmac;
	hop->smac = kept->smac;
	hop->xmit = kept->xmit;
	return 1;
}

/* The place of this next hop in `hops`, made if there is none; 0: there is no room.  Global: verified once, not per way here. */
__noinline __u32 xlvs_hop_intern(const struct hop *hop, __u32 stamp)
{
	__u32 start, i;

	if (!hop)
		return 0;
	start = (hop->dmac ^ (__u64)hop->ifindex << 32 ^ hop->mtu) * 0x9e3779b97f4a7c15ull >> 40;
	for (i = 0; i < HOP_TRIES; i++) {
		__u32 place = (start + i) & HOP_PLACE, was;
		struct xlvs_hop *h = hop_at(place);

		if (!h || !place)
			continue;
		was = READ_ONCE(h->stamp);
		if (was == HOP_WRITING)
			continue;
		h = (void *)h + AFTER(was);
		if (was && h->dmac == hop->dmac && h->smac == hop->smac && h->ifindex == hop->ifindex && h->mtu == hop->mtu &&
		    h->xmit == hop->xmit) {
			/* Else another CPU was first, and perhaps with another hop: the next packet finds out. */
			return was == stamp || __sync_val_compare_and_swap(&h->stamp, was, stamp) == was ? place : 0;
		}
		/* Another hop's, which flows may still have in mind. */
		if (was && stamp - was < 2 * XLVS_HOP_MOMENTS)
			continue;
		if (__sync_val_compare_and_swap(&h->stamp, was, HOP_WRITING) != was)
			continue;
		h->dmac = hop->dmac;
		h->smac = hop->smac;
		h->ifindex = hop->ifindex;
		h->mtu = hop->mtu;
		h->xmit = hop->xmit;
		__sync_lock_test_and_set(&h->stamp, stamp);
		return place;
	}
	return 0;
}

static __always_inline void hop_remember(struct found *found, __u32 stamp, __u32 place, int reply)
{
	__u32 hops = READ_ONCE(found->flow->hops), mask = HOP_PLACE << HOPS_SHIFT(reply);

	if (HOPS_TAG(hops) != hop_tag(stamp, found->word))
		hops = hop_tag(stamp, found->word);
	place = (hops & ~mask) | place << HOPS_SHIFT(reply);
	if (place == READ_ONCE(found->flow->hops))
		return;
	__sync_lock_test_and_set(&found->flow->hops, place);
	if (!is_still(found, 0))
		WRITE_ONCE(found->flow->hops, 0);
}

/* Ask the routing table, and remember. */
static __always_inline void hop_ask(ctx_t *ctx, struct walk *w, __u32 stamp, int reply, const struct xlvs_addr *src,
				    const struct xlvs_addr *dst, __u32 room)
{
	hop_find(ctx, &w->p, &w->hop, src, dst, room);
	if (w->found.flow && w->hop.rc == BPF_FIB_LKUP_RET_SUCCESS)
		hop_remember(&w->found, stamp, xlvs_hop_intern(&w->hop, stamp), reply);
}

/* The way from *src* to *dst* for the walk's packet: remembered by its flow, or asked for. */
static __always_inline void hop_for(ctx_t *ctx, struct walk *w, int reply, const struct xlvs_addr *src,
				    const struct xlvs_addr *dst, __u32 room)
{
	struct xlvs_config *c = the_config();
	__u32 stamp, place;
	struct xlvs_hop *kept;

	w->hop.rc = -1;
	if (!c)
		return;
	stamp = hop_stamp(w->now, c);
	if (w->found.flow) {
		place = hop_place(&w->found, stamp, w->now, c, reply);
		kept = hop_at(place);
		if (place && kept && hop_recall(&w->hop, kept, stamp, wire_len(ctx, &w->p) + room))
			return;
	}
	hop_ask(ctx, w, stamp, reply, src, dst, room);
}

/* The hook can send the packet there by itself. */
static __always_inline int hop_usable(const struct hop *hop)
{
#ifdef XLVS_XDP
	return hop->rc == BPF_FIB_LKUP_RET_SUCCESS && hop->xmit;
#else
	return hop->rc == BPF_FIB_LKUP_RET_SUCCESS || hop->rc == BPF_FIB_LKUP_RET_NO_NEIGH;
#endif
}

/* Why a packet whose hop is not usable is dropped. */
static __always_inline int hop_drop(const struct hop *hop)
{
	return drop(hop->rc == BPF_FIB_LKUP_RET_FWD_DISABLED ? XLVS_DROP_no_forwarding : XLVS_DROP_no_route);
}

/* By two bytes at a time, which the compiler does not dare: it believes that Ethernet headers lie anywhere. */
static __always_inline void copy_mac(void *to, const void *from)
{
	__u16 *t = to;
	const __u16 *f = from;

	t[0] = f[0];
	t[1] = f[1];
	t[2] = f[2];
}

/* Send the packet, whose headers are final, to its next hop. */
static __always_inline int hop_leave(ctx_t *ctx, struct hop *hop)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));

#ifndef XLVS_XDP
	if (hop->rc == BPF_FIB_LKUP_RET_NO_NEIGH) {
		struct bpf_fib_lookup *fib = scratch_at(FIB_AT);
		struct bpf_redir_neigh nh = {};

		if (!fib)
			return drop(XLVS_DROP_no_route);
		nh.nh_family = fib->family;
		if (nh.nh_family == AF_INET)
			nh.ipv4_nh = fib->ipv4_dst;
		else
			memcpy(nh.ipv6_nh, fib->ipv6_dst, 16);
		return bpf_redirect_neigh(hop->ifindex, &nh, sizeof(nh), 0);
	}
#endif
	if (!eth)
		return drop(XLVS_DROP_no_headroom);
	copy_mac(eth->h_dest, &hop->dmac);
	copy_mac(eth->h_source, &hop->smac);
	/* Never XDP_TX: a veth flushes it only if its peer runs an XDP program; a redirect to itself needs just NAPI there. */
	return bpf_redirect(hop->ifindex, 0);
}

/* Up the loopback, to a client on the director itself: no route leads there from a hook. */
static __always_inline int to_local_client(ctx_t *ctx)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct xlvs_config *c = the_config();

	if (!eth || !c || !c->lo)
		return drop(XLVS_DROP_no_route);
	memset(eth->h_dest, 0, ETH_ALEN);	/* the loopback's own address: else the frame is somebody else's */
	memset(eth->h_source, 0, ETH_ALEN);
	return bpf_redirect(c->lo, BPF_F_INGRESS);
}

#endif
