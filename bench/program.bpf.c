/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What runs before the program that is measured, once per packet of a test run
 * (BPF_PROG_TEST_RUN gives the program its own last output as the next input).
 *
 * It makes the last output a packet of the next flow and calls the program by
 * a tail call.  Only fields that the program changed are put back, one store
 * each: a load that needs more than one earlier store waits until those have
 * left the CPU's buffer, and then no two packets' cache misses overlap.
 * Restoring whole headers eight bytes at a time does that, a driver does not.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include "abi.h"
#include "helpers.h"

/* Written by program.py; addresses and ports in network order, numbers in host order. */
struct bench {
	__u64	sent;		/* packets so far */
	__u32	first;		/* number of the first flow; client and source port follow from the number */
	__u32	mask;		/* flows less one; a power of two less one */
	__u32	mul;		/* order of the flows: 1 and 63: as numbered; odd and half of the mask's bits: shuffled */
	__u32	shift;
	__u32	servers;	/* likewise less one; flow number and server number agree in these bits */
	__be32	client;		/* last word of the first client's address */
	__be32	server;
	__be32	virt;
	__be16	vport;
	__be16	port;
	__u16	mac[3];		/* the director's */
	__u16	work;		/* after each packet, work that waits for what the program found */
	__u64	sink;
	__u32	apart;		/* between the first flows of two CPUs that run at once */
	__u32	pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench);
} bench SEC(".maps");

/* What is measured. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xdp_measured SEC(".maps"), tc_measured SEC(".maps");

enum kind { NAT, REPLY, ROUTE, IPIP, PASS };

#define IP_HEADER(v6)	(int)((v6) ? sizeof(struct ipv6hdr) : sizeof(struct iphdr))

/* The context's 32-bit fields become pointers; see bpf/hook.h. */
#define POINTER(ctx, field) ({									\
	void *p_;										\
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p_) : "r"(ctx), "i"(__builtin_offsetof(typeof(*ctx), field)));	\
	p_;											\
})

/* A permutation of the flows' numbers that no prefetcher follows. */
static __always_inline __u32 next_flow(struct bench *b)
{
	__u32 n = b->sent++ & b->mask;

	n = (n * b->mul) & b->mask;
	n ^= (__u64)n >> b->shift;
	n = (n * b->mul) & b->mask;
	n ^= (__u64)n >> b->shift;
	return b->first + bpf_get_smp_processor_id() * b->apart + n;
}

static __always_inline __be16 client_port(__u32 flow)
{
	return htons(0x8000 | (flow & 0x7fff));
}

static __always_inline void restore_ports(const struct bench *b, struct tcphdr *th, enum kind kind, __u32 flow)
{
	__u32 *ports = (void *)th;	/* the program, too, takes them at once */

	if (kind == REPLY)
		*ports = b->port | (__u32)client_port(flow) << 16;
	else
		*ports = client_port(flow) | (__u32)b->vport << 16;
	if (kind == NAT || kind == REPLY)
		th->check = 0x1234;
}

static __always_inline void restore_v4(const struct bench *b, struct iphdr *ip, enum kind kind, __u32 flow)
{
	if (kind == REPLY) {
		ip->saddr = b->server + htonl(flow & b->servers);
		ip->daddr = b->client + htonl(flow);
	} else {
		ip->saddr = b->client + htonl(flow);
		if (kind == NAT)
			ip->daddr = b->virt;
	}
	if (kind != PASS) {
		ip->ttl = 64;
		ip->check = 0x1234;
	}
	restore_ports(b, (void *)(ip + 1), kind, flow);
}

static __always_inline void restore_v6(const struct bench *b, struct ipv6hdr *ip, enum kind kind, __u32 flow)
{
	__be32 *saddr = (void *)&ip->saddr + 12, *daddr = (void *)&ip->daddr + 12;

	if (kind == REPLY) {
		*saddr = b->server + htonl(flow & b->servers);
		*daddr = b->client + htonl(flow);
	} else {
		*saddr = b->client + htonl(flow);
		if (kind == NAT)
			*daddr = b->virt;
	}
	if (kind != PASS)
		ip->hop_limit = 64;
	restore_ports(b, (void *)(ip + 1), kind, flow);
}

#define WORK	45		/* multiplications, each of the one before */

/* Some 70 ns that depend on the last packet's way, as a driver's and the next program's work would. */
static __always_inline void work(struct bench *b, const __u16 *mac)
{
	__u64 x = mac[2];
	int i;

#pragma unroll
	for (i = 0; i < WORK; i++)
		x = (x ^ x >> 29) * 0x9e3779b97f4a7c15ull;
	b->sink = x;
}

/* Latency of memory: a walk along lines of 64 bytes, each of which says where the next is. */
struct line {
	__u32	next;
	__u32	pad[15];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

#define STEPS	256

SEC("xdp") int xdp_chase(struct xdp_md *ctx)
{
	struct bench *b;
	__u32 i, at, zero = 0;

	b = bpf_map_lookup_elem(&bench, &zero);
	if (!ctx || !b)
		return XDP_ABORTED;
	at = b->sink;
	for (i = 0; i < STEPS; i++) {
		struct line *l = bpf_map_lookup_elem(&lines, &at);

		if (!l)
			return XDP_ABORTED;
		at = l->next;
	}
	b->sink = at;
	return XDP_PASS;
}

/* False: the packet is not the one that program.py gave. */
static __always_inline int restore(void *data, void *end, enum kind kind, int v6)
{
	struct bench *b;
	__u32 flow, zero = 0;
	__u16 *mac = data;

	b = bpf_map_lookup_elem(&bench, &zero);
	if (!b || data + ETH_HLEN + IP_HEADER(v6) + sizeof(struct tcphdr) > end)
		return 0;
	if (b->work)
		work(b, mac);
	flow = next_flow(b);
	if (kind != PASS) {
		mac[0] = b->mac[0];
		mac[1] = b->mac[1];
		mac[2] = b->mac[2];
	}
	if (kind == IPIP)	/* the outer header lay here */
		mac[6] = v6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	if (v6)
		restore_v6(b, data + ETH_HLEN, kind, flow);
	else
		restore_v4(b, data + ETH_HLEN, kind, flow);
	return 1;
}

#define WRAPPERS(name, kind, v6)									\
SEC("xdp") int xdp_##name(struct xdp_md *ctx)								\
{													\
	if (kind == IPIP && bpf_xdp_adjust_head(ctx, IP_HEADER(v6)))					\
		return XDP_ABORTED;									\
	if (restore(POINTER(ctx, data), POINTER(ctx, data_end), kind, v6))				\
		bpf_tail_call(ctx, &xdp_measured, 0);							\
	return XDP_ABORTED;										\
}													\
SEC("tc") int tc_##name(struct __sk_buff *ctx)								\
{													\
	if (kind == IPIP && bpf_skb_adjust_room(ctx, -IP_HEADER(v6), BPF_ADJ_ROOM_MAC, BPF_F_ADJ_ROOM_FIXED_GSO))	\
		return -2;										\
	if (restore(POINTER(ctx, data), POINTER(ctx, data_end), kind, v6))				\
		bpf_tail_call(ctx, &tc_measured, 0);							\
	return -2;											\
}

WRAPPERS(nat4, NAT, 0)
WRAPPERS(nat6, NAT, 1)
WRAPPERS(reply4, REPLY, 0)
WRAPPERS(reply6, REPLY, 1)
WRAPPERS(route4, ROUTE, 0)
WRAPPERS(route6, ROUTE, 1)
WRAPPERS(ipip4, IPIP, 0)
WRAPPERS(ipip6, IPIP, 1)
WRAPPERS(pass4, PASS, 0)
WRAPPERS(pass6, PASS, 1)

/* Measured in place of the program, this shows what the wrapper costs. */
SEC("xdp") int xdp_nothing(struct xdp_md *ctx)
{
	return ctx ? XDP_PASS : XDP_ABORTED;
}

/* As wide as an address pair with ports. */
struct sample_key {
	__u32	w[10];
};

/* The kernel's own share, which no program can do without: one lookup in a hash, one in the routing table. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct sample_key);
	__type(value, __u32);
} sample SEC(".maps");

SEC("xdp") int xdp_hash(struct xdp_md *ctx)
{
	struct sample_key k = {};

	return ctx && bpf_map_lookup_elem(&sample, &k) ? XDP_PASS : XDP_ABORTED;
}

SEC("xdp") int xdp_fib4(struct xdp_md *ctx)
{
	struct bpf_fib_lookup fib = { .family = 2, .l4_protocol = 6, .tot_len = 40, .ifindex = ctx->ingress_ifindex };

	fib.ipv4_src = htonl(0x64400000);
	fib.ipv4_dst = htonl(0x0a000004);
	return bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) ? XDP_ABORTED : XDP_PASS;
}

SEC("xdp") int xdp_fib6(struct xdp_md *ctx)
{
	struct bpf_fib_lookup fib = { .family = 10, .l4_protocol = 6, .tot_len = 60, .ifindex = ctx->ingress_ifindex };

	fib.ipv6_src[0] = fib.ipv6_dst[0] = htonl(0x20010db8);
	fib.ipv6_src[1] = htonl(0x000c0000);
	fib.ipv6_dst[1] = htonl(0x000b0000);
	fib.ipv6_dst[3] = htonl(4);
	return bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) ? XDP_ABORTED : XDP_PASS;
}

SEC("tc") int tc_nothing(struct __sk_buff *ctx)
{
	return ctx ? 0 : -2;
}

SEC("license") char _license[] = "GPL";
