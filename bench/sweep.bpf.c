/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole sweep at once, which the timer does in forty parts, and the same over a kernel hash map. */
#pragma clang diagnostic ignored "-Wunused-function"
#include "sweep.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} now SEC(".maps");

SEC("tc") int tell_now(struct __sk_buff *ctx)
{
	__u32 zero = 0;
	__u64 *at = bpf_map_lookup_elem(&now, &zero);

	if (!ctx || !at)
		return 1;
	*at = bpf_jiffies64();
	return 0;
}

SEC("tc") int sweep_now(struct __sk_buff *ctx)
{
	struct xlvs_head *h = the_head();
	struct visit v = {};

	if (!ctx || !h)
		return 1;
	visit_begin(&v);
	bpf_loop(h->stripes[0] + h->stripes[1], visit_stripe, &v, 0);
	bpf_for_each_map_elem(&flow_spill, visit_spilled, &v, 0);
	return 0;
}

struct hash_key {
	__u64	ends;
	__u64	rest;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct hash_key);
	__type(value, struct xlvs_flow);
} hash_flows SEC(".maps");

static long visit_hashed(void *map, struct hash_key *k, struct xlvs_flow *flow, struct visit *v)
{
	__u32 life = flow->life;

	if (!is_idle(flow, LIFE_STATE(life), v->now) || bpf_map_delete_elem(map, k))
		return 0;
	load_add(life >> XLVS_FLOW_SERVER_SHIFT, LIFE_STATE(life), -1);
	return 0;
}

SEC("tc") int sweep_hash(struct __sk_buff *ctx)
{
	struct visit v = {};

	if (!ctx)
		return 1;
	v.now = bpf_jiffies64();
	bpf_for_each_map_elem(&hash_flows, visit_hashed, &v, 0);
	return 0;
}

SEC("license") char _license[] = "GPL";
