/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The maps of xlvs 0.1 (XLVS_ABI 1), which said nothing about their layouts:
 * what an upgrade from that release finds pinned.  Never to be changed.
 */
#include "helpers.h"

struct xlvs_addr {
	__u32	w[4];
};

struct xlvs_service_key {
	struct xlvs_addr addr;
	__be16	port;
	__u8	proto;
	__u8	pad;
};

struct xlvs_service {
	__u32	id;
	__u32	half;
	__u32	block;
	__u32	n;
	__u32	table_size;
	__u32	max_weight;
	__u32	gcd;
	__u8	sched;
	__u8	sched_flags;
	__u16	pad;
};

struct xlvs_slot {
	__u32	server;
	__u32	weight;
};

struct xlvs_block {
	struct xlvs_slot slot[16];
};

struct xlvs_server {
	struct xlvs_addr addr;
	struct xlvs_addr src;
	struct xlvs_addr virt;
	__be16	vport;
	__be16	port;
	__u32	weight;
	__u32	service;
	__u8	fwd;
	__u8	flags;
	__u8	proto;
	__u8	pad;
};

struct xlvs_load {
	__s32	active;
	__s32	inactive;
};

struct xlvs_sched_state {
	__u32	pos;
	__s32	cw;
};

struct xlvs_stats {
	__u64	conns;
	__u64	in_pkts;
	__u64	out_pkts;
	__u64	in_bytes;
	__u64	out_bytes;
};

struct xlvs_flow_key {
	struct xlvs_addr client;
	struct xlvs_addr other;
	__be16	cport;
	__be16	oport;
	__u8	proto;
	__u8	dir;
	__u16	pad;
};

struct xlvs_hop {
	__u64	dmac;
	__u64	smac;
	__u64	out;
};

struct xlvs_flow {
	struct xlvs_flow_key key;
	__u64	word;
	__u64	seen;
	__u64	born;
	__u32	server;
	__u32	service;
	__u64	in_pkts;
	__u64	out_pkts;
	__u64	in_bytes;
	__u64	out_bytes;
	struct xlvs_hop to_server;
	struct xlvs_hop to_client;
};

struct xlvs_interface {
	__u32	ifindex;
	__u16	flags;
	__u8	mac[6];
};

struct xlvs_config {
	__u64	idle_ns[16];
	__u32	max_flows;
	__u32	lo;
	__u32	icmp_per_second;
	__u32	hop_epoch;
	__u32	abi;
};

struct xlvs_table {
	__u32	next;
	__u32	cursor;
	__s32	live;
	__u32	pad;
	__u64	overflow_until;
};

struct xlvs_frag_key {
	struct xlvs_addr src;
	struct xlvs_addr dst;
	__u32	id;
	__u32	proto;
};

struct xlvs_frag {
	__be16	sport;
	__be16	dport;
};

struct xlvs_sweeper {
	struct bpf_timer timer;
};

struct xlvs_clock {
	__u64	jiffy;
	__u64	ns;
};

struct xlvs_scratch {
	__u8	bytes[1280];
	__u64	second;
	__u64	sent;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct xlvs_service_key);
	__type(value, struct xlvs_service);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32768);
	__type(key, __u32);
	__type(value, struct xlvs_block);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct xlvs_server);
} servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct xlvs_load);
} loads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * 16384);
	__type(key, __u32);
	__type(value, struct xlvs_sched_state);
} sched_state SEC(".maps");

struct xlvs_table_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2 * 16384);
	__type(key, __u32);
	__array(values, struct xlvs_table_map);
} tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct xlvs_stats);
} service_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct xlvs_stats);
} server_stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * 262144);
	__type(key, struct xlvs_flow_key);
	__type(value, __u32);
} flow_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 262144);
	__type(key, __u32);
	__type(value, struct xlvs_flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 262144);
	__type(value, __u32);
} flow_free SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_table);
} flow_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} addr_hints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct xlvs_addr);
	__type(value, __u32);
} addrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct xlvs_service_key);
	__type(value, __u32);
} nat_servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct xlvs_frag_key);
	__type(value, struct xlvs_frag);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_sweeper);
} sweeper SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_clock);
} clock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_scratch);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct xlvs_interface);
} interfaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_config);
} config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 10);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 13);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

char _license[] SEC("license") = "GPL";
