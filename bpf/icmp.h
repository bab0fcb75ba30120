/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ICMP errors that the director sends (TC only): the packet itself becomes the
 * answer.  Its tail is cut to what is quoted, the new headers go in front.
 */
#ifndef XLVS_ICMP_H
#define XLVS_ICMP_H

#include "flow.h"
#include "hop.h"

#define ICMP_TTL		64
#define ICMP_LOCAL	0x80	/* the sender is the director itself */
/* TOS of an ICMP error: the packet's, with the precedence of internetwork control (icmp_send in net/ipv4/icmp.c). */
#define ICMP_TOS(tos)	(((tos) & 0x1e) | 0xc0)

enum icmp_error { ICMP_NO_PORT, ICMP_TTL_EXCEEDED, ICMP_TOO_BIG };

struct icmp_bytes {		/* an ICMP or ICMPv6 error's first eight bytes */
	__u8	type;
	__u8	code;
	__u16	check;
	__be16	unused;		/* ICMPv6: the high half of the MTU */
	__be16	mtu;
};

/* Addresses an ICMP error may go to (RFC 1122 §3.2.2, RFC 4443 §2.4 e). */
static __always_inline int answerable(const struct pkt *p)
{
	__u8 first;

	if (p->frag == FRAG_LATER || (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP && p->proto != IPPROTO_SCTP))
		return 0;
	first = p->v6 ? p->src.w[0] : p->src.w[3];
	if (p->v6)
		return first != 0xff && !no_addr(&p->src);
	return first && first < 224;
}

/* Count this second's answers of this CPU. */
static __always_inline int icmp_allowed(struct xlvs_scratch *s)
{
	struct xlvs_config *c = the_config();
	__u64 second = bpf_ktime_get_coarse_ns() / SECOND;

	if (s->second != second) {
		s->second = second;
		s->sent = 0;
	}
	return c && s->sent++ < c->icmp_per_second;
}

static __always_inline void icmp_code(struct icmp_bytes *icmp, int v6, enum icmp_error error, __u32 mtu)
{
	memset(icmp, 0, sizeof(*icmp));
	if (error == ICMP_NO_PORT) {
		icmp->type = v6 ? ICMPV6_DEST_UNREACH : ICMP_DEST_UNREACH;
		icmp->code = v6 ? ICMPV6_PORT_UNREACH : ICMP_PORT_UNREACH;
	} else if (error == ICMP_TTL_EXCEEDED) {
		icmp->type = v6 ? ICMPV6_TIME_EXCEED : ICMP_TIME_EXCEEDED;
	} else {
		icmp->type = v6 ? ICMPV6_PKT_TOOBIG : ICMP_DEST_UNREACH;
		icmp->code = v6 ? 0 : ICMP_FRAG_NEEDED;
		icmp->mtu = htons(mtu);
	}
}

/* Global functions, so that their loops are verified once, not on every way that leads to an answer. */
__noinline int xlvs_quote_clear(void)
{
	struct xlvs_scratch *s = scratch_at(0);
	__u32 i;

	if (!s)
		return 0;
	for (i = 0; i < sizeof(s->bytes) / 8; i++)
		WRITE_ONCE(((__u64 *)s->bytes)[i], 0);	/* plain stores would become a call of memset */
	return 1;
}

/* Sum of the quoted packet's first bytes. */
__noinline __u64 xlvs_quote_sum(__u32 bytes)
{
	struct xlvs_scratch *s = scratch_at(0);
	__u64 sum = 0;
	__u32 i;

	if (!s)
		return 0;
	for (i = 0; i < 128 && i * 2 < bytes; i++)
		sum += ((__u16 *)s->bytes)[i];
	return sum;
}

/* The quote, *quote* bytes at *off*, into the scratch bytes, which are zero behind it. */
static __always_inline int load_quote(ctx_t *ctx, struct xlvs_scratch *s, __u32 off, __u32 quote)
{
	xlvs_quote_clear();
	barrier_var(quote);
	if (quote > XLVS_QUOTE_V6)
		return 0;
	barrier_var(quote);	/* as one test of a difference, a 6.1 verifier would not learn the lower bound */
	if (quote < sizeof(struct iphdr))
		return 0;
	return !bpf_skb_load_bytes(ctx, off, s->bytes, quote);
}

/* Sum of the scratch bytes, which are zero past what was loaded. */
static __always_inline __u64 scratch_sum(struct xlvs_scratch *s)
{
	return (__u64)bpf_csum_diff(NULL, 0, (void *)s->bytes, 512, 0) +
	       bpf_csum_diff(NULL, 0, (void *)s->bytes + 512, 512, 0) +
	       bpf_csum_diff(NULL, 0, (void *)s->bytes + 1024, 256, 0);
}

/*
 * Settle the quoted transport checksum, and return the sum of the quote.
 *
 * If the packet came with CHECKSUM_PARTIAL, whoever sends our answer on may
 * still "complete" that field, long after we summed the quote; there is no way
 * to take the mark off the packet.  So the field gets the one value that
 * completing does not change: x with x = ~(rest + x), that is x = ~rest / 2 in
 * ones' complement, where halving is multiplying by 2^15 modulo 2^16 - 1.
 */
static __always_inline __u64 settle_quote(struct pkt *p, struct xlvs_scratch *s, __u32 l4_bytes)
{
	__u32 l4 = (p->l4 - p->l3) & 255, field = (l4_check_off(p) - p->l3) & 255;
	__u64 sum = scratch_sum(s), pseudo, ip, rest;
	__u16 *check = (void *)s->bytes + field;

	pseudo = addr_sum(&p->src, p->v6) + addr_sum(&p->dst, p->v6) + htons(p->proto) + htons(p->len - l4);
	if (p->frag || p->proto == IPPROTO_SCTP || l4_bytes < p->l4_len || *check != csum_fold(pseudo))
		return sum;
	ip = xlvs_quote_sum(l4);
	rest = csum_fold(sum + (__u16)~csum_fold(ip) + (__u16)~*check);
	*check = 65535u - (__u32)rest * 32768u % 65535u;	/* 0xffff rather than 0, as skb_checksum_help writes it */
	return scratch_sum(s);
}

/* The IP header and the ICMP error in front of the quote. */
static __always_inline int icmp_headers(ctx_t *ctx, const struct pkt *p, const struct xlvs_addr *from,
					struct icmp_bytes *icmp, __u64 sum, __u32 quote)
{
	__u32 len = sizeof(*icmp) + quote;
	struct ipv6hdr ip6 = {};
	struct iphdr ip = {};

	sum += (__u64)((__u32 *)icmp)[0] + ((__u32 *)icmp)[1];
	if (p->v6) {
		icmp->check = ~csum_fold(sum + addr_sum(from, 1) + addr_sum(&p->src, 1) + htons(len) + htons(IPPROTO_ICMPV6));
		*(__be32 *)&ip6 = htonl(6u << 28);
		ip6.payload_len = htons(len);
		ip6.nexthdr = IPPROTO_ICMPV6;
		ip6.hop_limit = ICMP_TTL;
		memcpy(&ip6.saddr, from, 16);
		memcpy(&ip6.daddr, &p->src, 16);
		return !bpf_skb_store_bytes(ctx, ETH_HLEN, &ip6, sizeof(ip6), BPF_F_RECOMPUTE_CSUM) &&
		       !bpf_skb_store_bytes(ctx, ETH_HLEN + sizeof(ip6), icmp, sizeof(*icmp), BPF_F_RECOMPUTE_CSUM);
	}
	icmp->check = ~csum_fold(sum);
	*(__be16 *)&ip = htons(0x4500);
	ip.tos = ICMP_TOS(p->tos);
	ip.tot_len = htons(sizeof(ip) + len);
	ip.id = bpf_get_prandom_u32();
	ip.ttl = ICMP_TTL;
	ip.protocol = IPPROTO_ICMP;
	ip.saddr = from->w[3];
	ip.daddr = p->src.w[3];
	ip.check = ~csum_fold((__u64)*(__be16 *)&ip + ip.tot_len + ip.id + *(__be16 *)&ip.ttl + ip.saddr + ip.daddr);
	return !bpf_skb_store_bytes(ctx, ETH_HLEN, &ip, sizeof(ip), BPF_F_RECOMPUTE_CSUM) &&
	       !bpf_skb_store_bytes(ctx, ETH_HLEN + sizeof(ip), icmp, sizeof(*icmp), BPF_F_RECOMPUTE_CSUM);
}

/* Back where the packet came from: to the same neighbour, or up the loopback; from the marker the host's stack knows the way. */
static __always_inline int send_back(ctx_t *ctx, int local)
{
	struct ethhdr *eth = at(ctx, 0, sizeof(*eth));
	struct xlvs_config *c = the_config();
	__u8 mac[ETH_ALEN];

	if (!eth)
		return drop(XLVS_DROP_no_headroom);
	if (c && unlikely(ctx->ifindex == c->marker))
		return to_local_client(ctx);
	memcpy(mac, eth->h_dest, ETH_ALEN);
	memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	memcpy(eth->h_source, mac, ETH_ALEN);
	return bpf_redirect(ctx->ifindex, local ? BPF_F_INGRESS : 0);
}

#define ICMP_WHY(reason, error, local) ((reason) << 8 | (local ? ICMP_LOCAL : 0) | (error))

/* Drop the packet and tell its sender, in the name of *from*; *reason_error* is ICMP_WHY(). */
__noinline int xlvs_icmp_reply(ctx_t *ctx, struct pkt *p, const struct xlvs_addr *from, __u32 reason_error, __u32 mtu)
{
	__u32 zero = 0, quote, head, reason = reason_error >> 8;
	struct icmp_bytes icmp;
	struct xlvs_scratch *s = bpf_map_lookup_elem(&scratch, &zero);
	int local = reason_error & ICMP_LOCAL;
	__u64 sum;

	if (!p || !from || !s || no_addr(from) || !answerable(p))
		return drop(reason);
	if (!icmp_allowed(s))
		return drop(XLVS_DROP_icmp_limit);
	icmp_code(&icmp, p->v6, reason_error & ~ICMP_LOCAL & 0xff, mtu);
	quote = p->v6 ? XLVS_QUOTE_V6 : XLVS_QUOTE_V4;
	if (p->len < quote)
		quote = p->len;
	/* Also ends GSO: what leaves is one packet. */
	if (bpf_skb_change_tail(ctx, p->l3 + quote, 0))
		return drop(reason);
	if (!load_quote(ctx, s, ETH_HLEN, quote))
		return drop(reason);
	sum = settle_quote(p, s, quote - (p->l4 - p->l3));
	if (bpf_skb_store_bytes(ctx, l4_check_off(p), (void *)s->bytes + ((l4_check_off(p) - p->l3) & 255), 2, BPF_F_RECOMPUTE_CSUM))
		return drop(reason);
	head = sizeof(icmp) + (p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	if (bpf_skb_adjust_room(ctx, head, BPF_ADJ_ROOM_MAC, 0) || !icmp_headers(ctx, p, from, &icmp, sum, quote))
		return drop(XLVS_DROP_no_headroom);
	drop(reason);
	count(XLVS_COUNT_icmp_sent);
	return send_back(ctx, local);
}

#endif
