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
	struct bpf_fib_lookup fib;	/* after the lookup: egress interface, MACs, next hop, path MTU */
	int	rc;			/* BPF_FIB_LKUP_RET_*; negative: refused */
};

/* A packet on its way through the walk. */
struct walk {
	struct pkt p;
	struct xlvs_flow_key key;	/* of the direction looked at */
	struct found found;	/* flow is NULL: forwarded without one */
	struct hop hop;
	__u32	server;			/* without a flow: the choice */
	__u64	now;
	int	local;		/* the client is the director itself (TC egress on lo); known at compile time where it is passed beside */
};

/* Bytes of the largest packet that this one becomes on the wire: a GSO packet leaves in segments. */
static __always_inline __u32 wire_len(ctx_t *ctx, const struct pkt *p)
{
#ifdef XLVS_XDP
	(void)ctx;
	return p->len;
#else
	return ctx->gso_size ? p->l4 - p->l3 + p->l4_len + ctx->gso_size : p->len;
#endif
}

/* Look up the way from *src* to *dst* for a packet that grows by *room* bytes. */
static __always_inline void hop_find(ctx_t *ctx, const struct pkt *p, struct hop *hop, const struct xlvs_addr *src,
				     const struct xlvs_addr *dst, __u32 room)
{
	__u32 len = wire_len(ctx, p) + room;
	struct bpf_fib_lookup *fib = &hop->fib;

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
	hop->rc = bpf_fib_lookup(ctx, fib, sizeof(*fib), 0);
}

/* How long a flow's next hop is remembered at most: 2^29 ns, half a second. */
#define HOP_MOMENT_SHIFT	29

/* The moment's tag; the flow's generation is in it, so that what was remembered for a slot's last flow is not its next one's. */
static __always_inline __u16 hop_tag(const struct walk *w)
{
	struct xlvs_config *c = the_config();

	return (w->now >> HOP_MOMENT_SHIFT) + (c ? c->hop_epoch : 0) + WORD_GENERATION(w->found.word) * 40503u;
}

/* Take the next hop that the flow remembers; false: it remembers none, or one the packet is too big for. */
static __always_inline int hop_recall(struct hop *hop, const struct xlvs_hop *kept, __u16 tag, __u32 len)
{
	__u64 dmac = READ_ONCE(kept->dmac), smac = READ_ONCE(kept->smac), out = READ_ONCE(kept->out);

	if ((__u16)dmac != tag || (__u16)smac != tag || (__u16)out != tag || !(out >> 32) || len > (__u16)(out >> 16))
		return 0;
	hop->rc = BPF_FIB_LKUP_RET_SUCCESS;
	hop->fib.ifindex = out >> 32;
	memcpy(hop->fib.dmac, (__u8 *)&dmac + 2, ETH_ALEN);
	memcpy(hop->fib.smac, (__u8 *)&smac + 2, ETH_ALEN);
	return 1;
}

static __always_inline void hop_keep(const struct hop *hop, struct xlvs_hop *kept, __u16 tag)
{
	__u64 dmac = tag, smac = tag;

	if (hop->rc != BPF_FIB_LKUP_RET_SUCCESS)
		return;
	memcpy((__u8 *)&dmac + 2, hop->fib.dmac, ETH_ALEN);
	memcpy((__u8 *)&smac + 2, hop->fib.smac, ETH_ALEN);
	WRITE_ONCE(kept->dmac, dmac);
	WRITE_ONCE(kept->smac, smac);
	WRITE_ONCE(kept->out, (__u64)hop->fib.ifindex << 32 | (__u64)hop->fib.mtu_result << 16 | tag);
}

/* The way from *src* to *dst* for the walk's packet: remembered by its flow, or asked for. */
static __always_inline void hop_for(ctx_t *ctx, struct walk *w, int reply, const struct xlvs_addr *src,
				    const struct xlvs_addr *dst, __u32 room)
{
	struct xlvs_flow *flow = w->found.flow;
	struct xlvs_hop *kept = reply ? &flow->to_client : &flow->to_server;
	__u16 tag = hop_tag(w);

	if (flow && hop_recall(&w->hop, kept, tag, wire_len(ctx, &w->p) + room))
		return;
	hop_find(ctx, &w->p, &w->hop, src, dst, room);
	if (flow)
		hop_keep(&w->hop, kept, tag);
}

/* The hook can send the packet there by itself. */
static __always_inline int hop_usable(const struct hop *hop)
{
#ifdef XLVS_XDP
	struct xlvs_interface *i;

	if (hop->rc != BPF_FIB_LKUP_RET_SUCCESS)
		return 0;
	i = interface_of(hop->fib.ifindex);
	return i && i->flags & XLVS_IF_XMIT;
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
		struct bpf_redir_neigh nh = {};

		nh.nh_family = hop->fib.family;
		if (nh.nh_family == AF_INET)
			nh.ipv4_nh = hop->fib.ipv4_dst;
		else
			memcpy(nh.ipv6_nh, hop->fib.ipv6_dst, 16);
		return bpf_redirect_neigh(hop->fib.ifindex, &nh, sizeof(nh), 0);
	}
#endif
	if (!eth)
		return drop(XLVS_DROP_no_headroom);
	copy_mac(eth->h_dest, hop->fib.dmac);
	copy_mac(eth->h_source, hop->fib.smac);
	/* Never XDP_TX: a veth flushes it only if its peer runs an XDP program; a redirect to itself needs just NAPI there. */
	return bpf_redirect(hop->fib.ifindex, 0);
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
