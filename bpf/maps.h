/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * All maps.  Every one is pinned; user space writes those marked U, the
 * programs those marked K.
 *
 * schema_* is the version of a map's layout and meaning, from 1 on, and what
 * becomes of a pinned one of an older version.  Raise it with every change of
 * the key, the value, or what they mean (tests/unit/dataplane/layouts.txt
 * remembers them all).
 *
 *   user	carried over field by field; new fields are 0 (dataplane/upgrade/migrate.py knows the exceptions)
 *   kernel	refused: programs go on writing it while the new ones are loaded
 *   table	made anew, all of them, if any has another version or size; the flows are taken over (import.h)
 *   counts	made anew; if there are only more rows, with the counts so far
 *   cache	made anew, also if its size has changed: all of it comes back by itself
 */
#ifndef XLVS_MAPS_H
#define XLVS_MAPS_H

#include "abi.h"

/* U. What to balance.  Full: the daemon refuses the service. */
struct {
	__uint(schema_user, 3);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLVS_MAX_SERVICES);
	__type(key, struct xlvs_service_key);
	__type(value, struct xlvs_versions);
} services SEC(".maps");

/* U. The word that puts prepared changes in force: 1 ... 2^31 - 1, the next one with each change. */
struct {
	__uint(schema_user, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} epoch SEC(".maps");

/* U. The order and weights of each service's servers; never changed in place while a service refers to them. */
struct {
	__uint(schema_user, 2);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_MAX_BLOCKS);
	__type(key, __u32);
	__type(value, struct xlvs_block);
} slots SEC(".maps");

/* U. Servers by number.  A number is free again only when no flow refers to it. */
struct {
	__uint(schema_user, 3);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_MAX_SERVERS);
	__type(key, __u32);
	__type(value, struct xlvs_server);
} servers SEC(".maps");

/* U. By server number. */
struct {
	__uint(schema_user, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_MAX_SERVERS);
	__type(key, __u32);
	__type(value, struct xlvs_options);
} server_options SEC(".maps");

/* K. Flows per server, by server number. */
struct {
	__uint(schema_table, 4);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_MAX_SERVERS);
	__type(key, __u32);
	__type(value, struct xlvs_load);
} loads SEC(".maps");

/* K. By server number / XLVS_PAGE_SERVERS. */
struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_MAX_SERVERS / XLVS_PAGE_SERVERS);
	__type(key, __u32);
	__type(value, struct xlvs_page);
} overheads SEC(".maps");

/* K, and U when the order changes.  By the index of a service. */
struct {
	__uint(schema_kernel, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * XLVS_MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct xlvs_sched_state);
} sched_state SEC(".maps");

/* K. Where the flows of lblc and lblcr services go, by virtual address.  Full: the one used longest ago goes. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLVS_MAX_LOCALITIES);
	__type(key, struct xlvs_locality_key);
	__type(value, struct xlvs_locality);
} localities SEC(".maps");

/* U. By the index of a service: tables of choices for sh, dh and mh (XLVS_NO_SERVER: none), rings of places for rr and wrr. */
struct xlvs_table_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
};
struct {
	__uint(schema_user, 2);
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2 * XLVS_MAX_SERVICES);
	__type(key, __u32);
	__array(values, struct xlvs_table_map);
} tables SEC(".maps");

/* K. Counters per service and per server; zeroed by user space as a difference, never written. */
struct {
	__uint(schema_kernel, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLVS_MAX_SERVICES);
	__type(key, __u32);
	__type(value, struct xlvs_stats);
} service_stats SEC(".maps");

struct {
	__uint(schema_kernel, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLVS_MAX_SERVERS);
	__type(key, __u32);
	__type(value, struct xlvs_stats);
} server_stats SEC(".maps");

/* K. The flow table: buckets of IPv4 flows; user space maps it to read. */
struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);	/* also puts a bucket at the beginning of a cache line */
	__uint(max_entries, XLVS_MAX_FLOWS / 2);
	__type(key, __u32);
	__type(value, struct xlvs_bucket);
} flows4 SEC(".maps");

struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XLVS_MAX_FLOWS / 2);
	__type(key, __u32);
	__type(value, struct xlvs_bucket6);
} flows6 SEC(".maps");

/* K. One for each 1 << XLVS_STRIPE_SHIFT buckets, of IPv4 first. */
struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XLVS_MAX_FLOWS >> XLVS_STRIPE_SHIFT);
	__type(key, __u32);
	__type(value, struct xlvs_stripe);
} flow_stripes SEC(".maps");

/* K. Flows that found no room in their two buckets.  Full: a flow in which no connection is in use goes, or the choice is stateless. */
struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLVS_MAX_SPILL);
	__type(key, struct xlvs_spill_key);
	__type(value, struct xlvs_flow6);
} flow_spill SEC(".maps");

/* K. Bytes of flows that had more than 2^30.  Full: their counts stay there. */
struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, XLVS_MAX_WIDE);
	__type(key, __u32);
	__type(value, struct xlvs_wide);
} flow_wide SEC(".maps");

/* K. Local clients of route and ipip by how replies address them.  Full: a new flow is treated as if the table were. */
struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, XLVS_MAX_ALIASES);
	__type(key, struct xlvs_alias_key);
	__type(value, struct xlvs_addr);
} flow_aliases SEC(".maps");

/* K; U once, before any flow. */
struct {
	__uint(schema_table, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_head);
} flow_head SEC(".maps");

/* K. The next hops of flows. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, XLVS_MAX_HOPS);
	__type(key, __u32);
	__type(value, struct xlvs_hop);
} hops SEC(".maps");

/*
 * U. The flags of all addresses whose hash this is, four bits at (xor of the words) * factor >> shift: without a flag
 * here an address has none in `addrs`.  Flags of addresses that have gone stay until the daemon starts anew.
 */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_HINTS);
	__type(key, __u32);
	__type(value, __u64);
} addr_hints SEC(".maps");

/* U. Which addresses are ours to look at. */
struct {
	__uint(schema_user, 1);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLVS_MAX_ADDRS);
	__type(key, struct xlvs_addr);
	__type(value, __u32);		/* XLVS_ADDR_* */
} addrs SEC(".maps");

/* U. nat servers by their own address and port: how a reply without a flow finds its service while the table is full. */
struct {
	__uint(schema_user, 1);
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, XLVS_MAX_SERVERS);
	__type(key, struct xlvs_service_key);
	__type(value, __u32);		/* server number */
} nat_servers SEC(".maps");

/* K. Ports of fragmented datagrams, from the first fragment for the later ones.  Full: the oldest goes. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLVS_MAX_FRAGMENTS);
	__type(key, struct xlvs_frag_key);
	__type(value, struct xlvs_frag);
} fragments SEC(".maps");

/* K. The expiry timer, alive as long as the map is pinned. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_sweeper);
} sweeper SEC(".maps");

/* U. Flows to be taken over from another table. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_MAX_IMPORTS);
	__type(key, __u32);
	__type(value, struct xlvs_import);
} imports SEC(".maps");

/* U. The programs that work on the table before, while its flows are taken over; by hook. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} previous_xdp SEC(".maps");

struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);		/* ingress, egress of the loopback */
	__type(key, __u32);
	__type(value, __u32);
} previous_tc SEC(".maps");

/* K. How many new connections were asked for while some are refused. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} defence SEC(".maps");

/* K. How far the sweep is. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_sweep);
} sweep SEC(".maps");

/* K. Room to build an ICMP answer, and its rate limit. */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_scratch);
} scratch SEC(".maps");

/*
 * U. By ifindex modulo the size: three looks per packet are too many for a hash.
 * Slot taken: the newcomer is left out, and XDP leaves its packets to TC.
 */
struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, XLVS_MAX_INTERFACES);
	__type(key, __u32);
	__type(value, struct xlvs_interface);
} interfaces SEC(".maps");

/* K. FTP control connections whose answers have become longer or shorter.  Full: the one used longest ago stalls. */
struct {
	__uint(schema_kernel, 1);
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLVS_MAX_SHIFTS);
	__type(key, struct xlvs_shift_key);
	__type(value, struct xlvs_shift);
} ftp_shifts SEC(".maps");

struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_ftp);
} ftp_text SEC(".maps");

/* K. Call-IDs by digest: for listings only. */
struct {
	__uint(schema_kernel, 1);
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, XLVS_MAX_CALLS);
	__type(key, struct xlvs_addr);
	__type(value, struct xlvs_call);
} sip_calls SEC(".maps");

struct {
	__uint(schema_cache, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_sip);
} sip_text SEC(".maps");

/* U. Which packets get a firewall mark from us.  Full: the daemon refuses the service. */
struct {
	__uint(schema_user, 1);
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, XLVS_MAX_PREFIXES);
	__type(key, struct xlvs_match_key);
	__type(value, struct xlvs_matches);
} matches SEC(".maps");

/* U. One value for the whole director. */
struct {
	__uint(schema_user, 5);
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xlvs_config);
} config SEC(".maps");

/* K. By enum xlvs_drop and enum xlvs_counter. */
struct {
	__uint(schema_counts, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLVS_DROPS);
	__type(key, __u32);
	__type(value, __u64);
} drops SEC(".maps");

struct {
	__uint(schema_counts, 1);
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XLVS_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

#endif
