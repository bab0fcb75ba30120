/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The director on a kernel hash map, as others keep their flows (LRU: on an
 * LRU hash): the same program but for the table.  A flow of nat has two
 * entries, one for each direction, and a packet finds its own and then the
 * other, since state and idle time are the connection's.  For the benchmark
 * alone, and IPv4 alone: keys are as small as they can be.
 */
#ifndef BENCH_HASH_TABLE_H
#define BENCH_HASH_TABLE_H

#define find_first	bucket_find_first
#define xlvs_flow_seek	xlvs_bucket_seek
#define xlvs_flow_end	xlvs_bucket_end
#define found_at	bucket_found_at
#define flow_open	bucket_flow_open
#define hook_seek	bucket_hook_seek
#include "open.h"
#undef find_first
#undef xlvs_flow_seek
#undef xlvs_flow_end
#undef found_at
#undef flow_open
#undef hook_seek

struct hash_key {
	__u32	client;
	__u32	other;
	__u32	ports;
	__u8	proto;
	__u8	reply;
	__u16	pad;
};

struct {
	__uint(schema_kernel, 1);
	__uint(type, LRU ? BPF_MAP_TYPE_LRU_HASH : BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct hash_key);
	__type(value, struct xlvs_flow);
} hash_flows SEC(".maps");

static __always_inline struct xlvs_flow *hash_find(__u32 client, __u32 other, __u32 ports, __u8 proto, __u8 reply)
{
	struct hash_key k = { .client = client, .other = other, .ports = ports, .proto = proto, .reply = reply };

	return bpf_map_lookup_elem(&hash_flows, &k);
}

/* The other direction's entry of a flow of nat. */
static __always_inline struct xlvs_flow *hash_pair(const struct xlvs_flow *flow, __u64 word, __u32 ports, __u8 proto, __u8 reply)
{
	struct xlvs_server *s = server_at(WORD_SERVER(word));

	if (!s)
		return NULL;
	if (reply)
		return hash_find(flow->client, flow->virt, (ports & 0xffff) | (__u32)flow->vport << 16, proto, 0);
	return hash_find(flow->client, s->addr.w[3], (ports & 0xffff) | (__u32)s->port << 16, proto, 1);
}

static __always_inline int hash_take(struct found *found, struct xlvs_flow *flow, __u32 ports, __u8 proto, __u8 reply)
{
	struct xlvs_flow *pair;

	if (!flow)
		return 0;
	found->flow = flow;
	found->flow6 = NULL;
	found->place = XLVS_PLACE_SPILL;
	found->word = READ_ONCE(*word_at(flow));
	if (WORD_FWD(found->word) == XLVS_FWD_nat) {
		pair = hash_pair(flow, found->word, ports, proto, reply);
		if (!pair)
			return 0;
		WRITE_ONCE(pair->seen, flow->seen);
	}
	return IS_LIVE(found->word);
}

static __always_inline int find_first(struct found *found, const struct ends *e, int opens)
{
	(void)opens;
	return hash_take(found, hash_find(e->client->w[3], e->other->w[3], e->ports, e->proto, e->reply), e->ports, e->proto, e->reply);
}

static __always_inline int found_at(struct found *found, const struct key *k, __u32 place)
{
	(void)place;
	return hash_take(found, hash_find(k->client.w[3], k->other.w[3], k->ports, k->proto, k->reply), k->ports, k->proto, k->reply);
}

__noinline __u64 xlvs_flow_seek(struct key *k)
{
	struct xlvs_flow *flow;

	if (!k)
		return NO_PLACE;
	flow = hash_find(k->client.w[3], k->other.w[3], k->ports, k->proto, k->reply);
	if (!flow)
		return NO_PLACE;
	k->word = READ_ONCE(*word_at(flow));
	return 0;
}

__noinline int xlvs_flow_end(const struct key *k, __u32 place, __u64 word)
{
	return k && place && word ? 0 : 0;
}

static __always_inline int flow_open(struct key *k)
{
	struct xlvs_server *s = server_at(k->server);
	struct hash_key h = { .client = k->client.w[3], .other = k->other.w[3], .ports = k->ports, .proto = k->proto };
	struct xlvs_flow *flow = scratch_at(0);

	if (!flow || !s)
		return OPEN_FULL;
	fill(flow, NULL, k);
	WRITE_ONCE(*word_at(flow), word_of(k, 0));
	if (bpf_map_update_elem(&hash_flows, &h, flow, BPF_NOEXIST))
		return OPEN_FULL;
	if (k->fwd == XLVS_FWD_nat) {
		h.other = s->addr.w[3];
		h.ports = (k->ports & 0xffff) | (__u32)s->port << 16;
		h.reply = 1;
		if (bpf_map_update_elem(&hash_flows, &h, flow, BPF_ANY))
			return OPEN_FULL;
	}
	load_add(k->server, k->state, 1);
	return OPENED;
}

#endif
