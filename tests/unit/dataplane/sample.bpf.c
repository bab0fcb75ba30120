/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One of everything the loader must cope with; no packet in it means anything. */
#include "helpers.h"

enum sample_color {
	SAMPLE_RED,
	SAMPLE_BLUE = 7,
};

struct sample_inner {
	__be16	port;
	__u8	mark[6];
};

union sample_union {
	__u32	word;
	__u8	bytes[4];
};

struct sample_opaque {
	__u32	w[4];
};

struct sample_value {
	struct sample_inner inner[2];
	struct sample_opaque opaque;
	union sample_union either;
	__s32	signed_number;
	__u64	number;
	__be32	address;
	enum sample_color color;
};

struct sample_tick {
	struct bpf_timer timer;
	__u64	n;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 20000);
	__type(key, struct sample_inner);
	__type(value, struct sample_value);
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 100);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} hits SEC(".maps");

struct table {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 8);
	__type(key, __u32);
	__array(values, struct table);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 10);
	__type(value, __u32);
} spare SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sample_tick);
} ticker SEC(".maps");

const volatile __u32 bonus = 7;
static const __u32 ladder[4] = { 10, 20, 30, 40 };
static __u32 calls;

struct sum {
	__u32	total;
};

static __noinline __u32 deep(__u32 x)
{
	return ladder[x & 3] + x;
}

static __noinline __u32 step(__u32 x)
{
	calls++;
	return deep(2 * x) + bonus;
}

static long each(__u32 i, void *data)
{
	((struct sum *)data)->total += step(i);
	return 0;
}

/* Ten steps through a callback that calls a subprogram that calls another. */
SEC("tc") int sum_up(struct __sk_buff *skb)
{
	struct sum sum = {};
	__u32 zero = 0, *hit = bpf_map_lookup_elem(&hits, &zero);

	bpf_loop(10, each, &sum, 0);
	if (hit)
		*hit += 1;
	return sum.total + (skb->mark & 0);
}

SEC("tc") int call_count(struct __sk_buff *skb)
{
	return calls + (skb->mark & 0);
}

/* Entry 3 of table 0. */
SEC("tc") int look_up(struct __sk_buff *skb)
{
	__u32 zero = 0, three = 3, *found;
	void *table = bpf_map_lookup_elem(&tables, &zero);

	if (!table)
		return 1000 + (skb->mark & 0);
	found = bpf_map_lookup_elem(table, &three);
	return found ? *found : 2000;
}

static int tick(void *map, __u32 *key, struct sample_tick *t)
{
	(void)map;
	t->n += 1 + *key;
	bpf_timer_start(&t->timer, 1000000, 0);
	return 0;
}

SEC("tc") int start_ticking(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct sample_tick *t = bpf_map_lookup_elem(&ticker, &zero);

	if (!t)
		return 1 + (skb->mark & 0);
	bpf_timer_init(&t->timer, &ticker, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&t->timer, tick);
	return bpf_timer_start(&t->timer, 1000000, 0);
}

SEC("xdp") int let_pass(struct xdp_md *xdp)
{
	__u32 one = 1, *hit = bpf_map_lookup_elem(&hits, &one);

	if (hit)
		*hit += xdp->data_end - xdp->data;
	bpf_map_push_elem(&spare, &one, 0);
	bpf_map_lookup_elem(&numbers, &one);
	return XDP_PASS;
}

/* A value that nothing above mentions would have no type information. */
SEC("tc") int peek(struct __sk_buff *skb)
{
	struct sample_inner key = { .port = skb->protocol };
	struct sample_value *v = bpf_map_lookup_elem(&values, &key);

	return v ? v->signed_number : 0;
}

char _license[] SEC("license") = "GPL";
