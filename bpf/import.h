/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flows of another table, of another size or layout, that this one takes over
 * while packets flow: user space reads the old table and writes what it finds
 * into `imports`, some thousand at a time; this enters them.
 *
 * The programs of the old table go on meanwhile with whatever is not here yet
 * (hand_over() in walk.h), so a flow may be handed in again, with a newer
 * state, or have been seen here already: the later packet decides.
 */
#ifndef XLVS_IMPORT_H
#define XLVS_IMPORT_H

#include "flow.h"

static __always_inline void import_rest(struct found *found, const struct xlvs_import *r)
{
	struct xlvs_wide wide = { .in_bytes = r->in_bytes & ~(WIDE_BYTES - 1ull), .out_bytes = r->out_bytes & ~(WIDE_BYTES - 1ull) };
	__u32 mark = 0;

	if ((wide.in_bytes || wide.out_bytes) && !(found->place & XLVS_PLACE_SPILL) &&
	    !bpf_map_update_elem(&flow_wide, &found->place, &wide, BPF_ANY))
		mark = XLVS_FLOW_WIDE;
	WRITE_ONCE(found->flow->in_bytes, (__u32)(r->in_bytes & (WIDE_BYTES - 1)) | mark);
	WRITE_ONCE(found->flow->out_bytes, (__u32)(r->out_bytes & (WIDE_BYTES - 1)) | mark);
	WRITE_ONCE(found->flow->seen, r->seen);
}

/* Bring a flow that is here up to date; 0: what is here is newer, or another CPU was at it. */
static __noinline int import_update(struct xlvs_import *r, struct key *k, __u32 place)
{
	struct found found;
	__u8 state;

	if (!r || !k || !found_at(&found, k, place) || (__s32)(r->seen - READ_ONCE(found.flow->seen)) <= 0)
		return 0;
	if (WORD_SERVER(found.word) != k->server)
		return xlvs_flow_end(k, place, found.word);
	state = WORD_STATE(found.word);
	if (!swap_word(found.flow, found.word, WITH_STATE(found.word, k->state)))
		return 0;
	load_add(k->server, k->state, 1);
	load_add(k->server, state, -1);
	import_rest(&found, r);
	return 0;
}

static long import_one(__u32 i, void *unused)
{
	struct xlvs_import *r = bpf_map_lookup_elem(&imports, &i);
	/* Not the scratch map's: a packet may come in between, where a test run does not keep softirqs off (before 6.11). */
	struct key key = {}, *k = &key;
	struct found found;
	__u64 place;
	int opened;

	if (unused || !r || !r->proto)
		return 1;
	k->client = r->client;
	k->other = r->virt;
	k->ports = r->ports;
	k->proto = r->proto;
	k->v6 = r->v6;
	k->server = r->server;
	k->state = r->state;
	k->fwd = r->fwd;
	k->local = r->local;
	k->now = bpf_jiffies64();
	place = xlvs_flow_seek(k);
	if (place & PLACE_IDLE)
		xlvs_flow_end(k, place, 0);
	else if (place != NO_PLACE && !import_update(r, k, place))
		return 0;
	opened = flow_open(k);
	r->failed = opened == OPEN_FULL;
	if (opened == OPENED && flow_at(&found, k, k->place))
		import_rest(&found, r);
	return 0;
}

static __always_inline int import_all(void)
{
	return bpf_loop(XLVS_MAX_IMPORTS, import_one, NULL, 0);
}

#endif
