/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A build with one map of each kind, for the tests of upgrades. */
#include "helpers.h"

struct row {
	__u32	id;
	__u16	weight;
	__be16	port;
	__u32	gone;
};

struct packet {
	__u64	seen;
	__u32	server;
	__u32	state;
};

struct {
	__uint(schema_user, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 50);
	__type(key, __u32);
	__type(value, struct row);
} rows SEC(".maps");

struct {
	__uint(schema_user, 1);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 60);
	__type(key, __u32);
	__type(value, struct row);
} names SEC(".maps");

struct {
	__uint(schema_kernel, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 70);
	__type(key, __u32);
	__type(value, struct packet);
} packets SEC(".maps");

struct {
	__uint(schema_counts, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, __u32);
} memory SEC(".maps");

SEC("tc") int use_them(struct __sk_buff *skb)
{
	__u32 zero = 0, one = 1, *remembered = bpf_map_lookup_elem(&memory, &one);
	struct row *row = bpf_map_lookup_elem(&rows, &zero), *name = bpf_map_lookup_elem(&names, &zero);
	struct packet *packet = bpf_map_lookup_elem(&packets, &zero);
	__u64 *count = bpf_map_lookup_elem(&counts, &one);

	if (count)
		*count += 1;
	if (packet)
		packet->seen += 1;
	return (row ? row->port : 0) + (name ? name->port : 0) + (remembered ? 1 : 0) + (skb->mark & 0);
}

char _license[] SEC("license") = "GPL";
