/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Internet checksum (RFC 1071, RFC 1624), and replacing an address and a
 * port under it.
 *
 * A driver may hand over a complete checksum, or only the sum of the
 * pseudo-header for somebody later to complete (CHECKSUM_PARTIAL).  TC has
 * helpers that know which; XDP must look.
 */
#ifndef XLVS_CSUM_H
#define XLVS_CSUM_H

#include "parse.h"
#ifndef XLVS_XDP
#include "crc32c.h"
#endif

static __always_inline __u16 csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u64 addr_sum(const struct xlvs_addr *a, int v6)
{
	return v6 ? (__u64)a->w[0] + a->w[1] + a->w[2] + a->w[3] : a->w[3];
}

/*
 * Replace what sums to *from* by what sums to *to* under a complete checksum (RFC 1624, equation 3).  Both are sums of
 * at most eight words of 32 bits.  Taking *from* from a larger multiple of 2^16 - 1 is adding its complement, so one
 * fold does for all.
 */
static __always_inline __u16 csum_replace(__u16 check, __u64 from, __u64 to)
{
	return ~csum_fold((__u64)(__u16)~check + (8 * 0xffffffffull - from) + to);
}

static __always_inline __u32 l4_check_off(const struct pkt *p)
{
	return p->l4 + (p->proto == IPPROTO_TCP ? __builtin_offsetof(struct tcphdr, check)
						: __builtin_offsetof(struct udphdr, check));
}

static __always_inline int has_ports(const struct pkt *p)
{
	return p->frag < FRAG_LATER && (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP);
}

/* Put a new address into the IP header, and count the TTL down by *hops*. */
static __always_inline int rewrite_ip(ctx_t *ctx, struct pkt *p, int source, const struct xlvs_addr *addr, int hops)
{
	if (p->v6) {
		struct ipv6hdr *ip = at(ctx, p->l3, sizeof(*ip));

		if (!ip)
			return 0;
		if (addr)
			memcpy(source ? &ip->saddr : &ip->daddr, addr, sizeof(*addr));
		ip->hop_limit -= hops;
#ifndef XLVS_XDP
		if (hops) {
			__be32 from = htonl(p->ttl), to = htonl(p->ttl - 1);

			/* No header checksum makes up for it, so a sum the NIC took of the whole packet changes. */
			bpf_csum_update(ctx, bpf_csum_diff(&from, sizeof(from), &to, sizeof(to), 0));
		}
#endif
	} else {
		struct iphdr *ip = at(ctx, p->l3, sizeof(*ip));
		__u64 from = 0, to = 0;

		if (!ip)
			return 0;
		if (addr) {
			from = source ? ip->saddr : ip->daddr;
			to = addr->w[3];
			if (source)
				ip->saddr = addr->w[3];
			else
				ip->daddr = addr->w[3];
		}
		if (hops) {
			from += ip->ttl;	/* the low byte of its 16-bit word, in memory order */
			ip->ttl -= hops;
			to += ip->ttl;
		}
		ip->check = csum_replace(ip->check, from, to);
	}
	p->ttl -= hops;
	return 1;
}

static __always_inline int rewrite_port(ctx_t *ctx, const struct pkt *p, int source, __be16 port)
{
	__be16 *ports = at(ctx, p->l4, 4);

	if (!ports)
		return 0;
	ports[source ? 0 : 1] = port;
	return 1;
}

static __always_inline __u64 pseudo_sum(const struct pkt *p)
{
	__u32 len = p->len - (p->l4 - p->l3);

	return addr_sum(&p->src, p->v6) + addr_sum(&p->dst, p->v6) + htons(len) + htons(p->proto);
}

#ifdef XLVS_XDP

#define HEAL_CHUNK	64
#define HEAL_CHUNKS	64	/* 4 KiB: no linear XDP buffer holds more */

/* True if the checksum field holds only the pseudo-header's sum.  Fragments are never partial. */
static __always_inline int is_partial(ctx_t *ctx, const struct pkt *p)
{
	__u16 *check;

	if (!p->heal || p->frag)
		return 0;
	check = at(ctx, l4_check_off(p), 2);
	return check && *check == csum_fold(pseudo_sum(p));
}

/* Sum of *len* bytes at *off*, to the last odd byte.  Global functions are verified once, not at each call. */
__noinline __u64 xlvs_csum_bytes(ctx_t *ctx, __u32 off, __u32 len)
{
	__u64 sum = 0;
	int i;

	for (i = 0; i < HEAL_CHUNKS && len >= HEAL_CHUNK; i++) {
		void *p = data_begin(ctx) + (off & 0x1fff);

		if (p + HEAL_CHUNK > data_end(ctx))
			return 0;
		sum = bpf_csum_diff(NULL, 0, p, HEAL_CHUNK, sum);
		off += HEAL_CHUNK;
		len -= HEAL_CHUNK;
	}
	for (i = 0; i < HEAL_CHUNK / 2 && len >= 2; i++) {
		__u16 *p = data_begin(ctx) + (off & 0x1fff);

		if ((void *)(p + 1) > data_end(ctx))
			return 0;
		sum += *p;
		off += 2;
		len -= 2;
	}
	if (len) {
		__u8 *p = data_begin(ctx) + (off & 0x1fff);

		if ((void *)(p + 1) > data_end(ctx))
			return 0;
		sum += *p;
	}
	return sum;
}

/* Complete a partial checksum, after *p* holds the addresses the packet leaves with. */
__noinline int xlvs_heal(ctx_t *ctx, const struct pkt *p)
{
	__u16 *check;
	__u64 sum;

	if (!p)
		return 0;
	check = at(ctx, l4_check_off(p), 2);
	if (!check)
		return 0;
	*check = 0;
	sum = pseudo_sum(p) + xlvs_csum_bytes(ctx, p->l4, p->len - (p->l4 - p->l3));
	check = at(ctx, l4_check_off(p), 2);
	if (!check)
		return 0;
	*check = ~csum_fold(sum);
	if (!*check && p->proto == IPPROTO_UDP)
		*check = 0xffff;
	count(XLVS_COUNT_healed);
	return 1;
}

/* Fix the transport checksum for another address and port. */
static __always_inline int rewrite_l4(ctx_t *ctx, const struct pkt *p, const struct xlvs_addr *old_addr, __be16 old_port,
				      const struct xlvs_addr *addr, __be16 port)
{
	__u16 *check = at(ctx, l4_check_off(p), 2);

	if (!check)
		return 0;
	if (p->proto == IPPROTO_UDP && !*check && !p->v6)
		return 1;
	*check = csum_replace(*check, addr_sum(old_addr, p->v6) + old_port, addr_sum(addr, p->v6) + port);
	if (!*check && p->proto == IPPROTO_UDP)
		*check = 0xffff;
	return 1;
}

#else /* TC */

/*
 * BPF_F_IPV6 where the kernel knows it (6.16): without it a checksum that the
 * NIC took of the whole packet is spoilt by an address change in IPv6.
 */
const volatile __u64 l4_csum_v6 = 0;

static __always_inline int rewrite_l4(ctx_t *ctx, const struct pkt *p, const struct xlvs_addr *old_addr, __be16 old_port,
				      const struct xlvs_addr *addr, __be16 port)
{
	__u64 mangled = p->proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 off = l4_check_off(p);
	long err;

	if (p->v6)
		err = bpf_l4_csum_replace(ctx, off, 0, bpf_csum_diff(old_addr, 16, addr, 16, 0),
					  BPF_F_PSEUDO_HDR | mangled | l4_csum_v6);
	else
		err = bpf_l4_csum_replace(ctx, off, old_addr->w[3], addr->w[3], BPF_F_PSEUDO_HDR | mangled | 4);
	if (!err && port != old_port)
		err = bpf_l4_csum_replace(ctx, off, old_port, port, mangled | 2);
	return !err;
}

#endif

/*
 * Give the packet another source or destination, and count its TTL down by
 * *hops*; *p* follows.  False: the packet is shorter than it was a moment ago.
 */
static __always_inline int rewrite(ctx_t *ctx, struct pkt *p, int source, const struct xlvs_addr *addr, __be16 port, int hops)
{
	struct xlvs_addr *old_addr = source ? &p->src : &p->dst;
	__be16 *old_port = source ? &p->sport : &p->dport;
#ifdef XLVS_XDP
	int partial = is_partial(ctx, p);
#endif

	if (has_ports(p)) {
#ifdef XLVS_XDP
		if (!partial)
#endif
			if (!rewrite_l4(ctx, p, old_addr, *old_port, addr, port))
				return 0;
		if (!rewrite_port(ctx, p, source, port))
			return 0;
	}
#ifndef XLVS_XDP
	if (unlikely(p->proto == IPPROTO_SCTP) && p->frag != FRAG_LATER && !rewrite_sctp(ctx, p, source, addr, port))
		return 0;
#endif
	if (!rewrite_ip(ctx, p, source, addr, hops))
		return 0;
	*old_addr = *addr;
	*old_port = port;
#ifdef XLVS_XDP
	return !partial || xlvs_heal(ctx, p);
#else
	return 1;
#endif
}

/* Count the TTL down by *hops* and touch nothing else. */
static __always_inline int age(ctx_t *ctx, struct pkt *p, int hops)
{
#ifdef XLVS_XDP
	if (is_partial(ctx, p) && !xlvs_heal(ctx, p))
		return 0;
#endif
	return rewrite_ip(ctx, p, 0, NULL, hops);
}

#endif
