/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Both ends of a run with small frames: `send` makes a frame of the next flow
 * and redirects it to the client's veth, `receive` counts on the server what
 * came through the director and drops it.  `redirect` can stand in between.
 *
 * `send` runs with BPF_F_TEST_XDP_LIVE_FRAMES: the kernel hands out recycled
 * pages as frames, with whatever the last user left in them (net/bpf/test_run.c,
 * xdp_test_run_batch), so every header is written anew.
 */
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include "helpers.h"

#define HEAD	(ETH_HLEN + (int)sizeof(struct iphdr) + (int)sizeof(struct udphdr) + 2)

/* Written by _small.py.  Sums are those of 16-bit words as they lie in memory, without what differs by flow. */
struct job {
	__u64	sent;
	__u32	mask;		/* flows less one; a power of two less one */
	__u32	ifindex;	/* where the frames go */
	__u32	next;		/* where `redirect` sends them on, and to whom */
	__u16	mac[3];
	__u16	room;		/* bytes by which the director will make frames longer */
	__be32	client;		/* the first client's address; 2^14 flows have the same */
	__u32	ip_sum;
	__u32	udp_sum;
	__u32	head[HEAD / 4];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} job SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} received SEC(".maps");

/* The context's 32-bit fields become pointers; see bpf/hook.h. */
#define POINTER(ctx, field) ({									\
	void *p_;										\
	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p_) : "r"(ctx), "i"(__builtin_offsetof(typeof(*ctx), field)));	\
	p_;											\
})

static __always_inline __u16 finish(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

SEC("xdp") int send(struct xdp_md *ctx)
{
	void *data, *end;
	struct iphdr *ip;
	struct udphdr *udp;
	__u32 flow, halves, zero = 0;
	struct job *j;
	__be32 client;

	j = bpf_map_lookup_elem(&job, &zero);
	/* With less headroom than XDP_PACKET_HEADROOM left, the receiver's veth would copy the frame. */
	if (!j || (j->room && bpf_xdp_adjust_head(ctx, j->room)))
		return XDP_ABORTED;
	data = POINTER(ctx, data);
	end = POINTER(ctx, data_end);
	ip = data + ETH_HLEN;
	udp = (void *)(ip + 1);
	if (data + HEAD > end)
		return XDP_ABORTED;
	/* An odd factor: every flow once in each round, but in no order that a prefetcher follows. */
	flow = (__u32)j->sent++ * 0x9e3779b1 & j->mask;
	client = j->client + htonl(flow >> 14);
	halves = (client & 0xffff) + (client >> 16);
	memcpy(data, j->head, HEAD);
	ip->saddr = client;
	ip->check = finish(j->ip_sum + halves);
	udp->source = htons(0x8000 | (flow & 0x3fff));
	udp->check = finish(j->udp_sum + halves + udp->source);
	return bpf_redirect(j->ifindex, 0);
}

/* In the director's place: what any XDP program costs here that sends a frame on. */
SEC("xdp") int redirect(struct xdp_md *ctx)
{
	void *data = POINTER(ctx, data), *end = POINTER(ctx, data_end);
	__u16 *mac = data;
	__u32 zero = 0;
	struct job *j;

	j = bpf_map_lookup_elem(&job, &zero);
	if (!j || data + ETH_HLEN > end)
		return XDP_ABORTED;
	if (mac[6] != htons(ETH_P_IP))
		return XDP_PASS;
	mac[0] = j->mac[0];
	mac[1] = j->mac[1];
	mac[2] = j->mac[2];
	return bpf_redirect(j->next, 0);
}

SEC("xdp") int receive(struct xdp_md *ctx)
{
	void *data = POINTER(ctx, data), *end = POINTER(ctx, data_end);
	struct ethhdr *eth = data;
	__u32 zero = 0;
	__u64 *count;

	if (data + sizeof(*eth) > end || eth->h_proto != htons(ETH_P_IP))
		return XDP_PASS;
	count = bpf_map_lookup_elem(&received, &zero);
	if (count)
		(*count)++;
	return XDP_DROP;
}

SEC("license") char _license[] = "GPL";
