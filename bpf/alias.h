/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Clients on the director itself, with route or ipip: their packets leave with
 * the director's own address, and this is the name by which replies to it find
 * them.  A flow of theirs has one, from before it is entered until it is gone.
 */
#ifndef XLVS_ALIAS_H
#define XLVS_ALIAS_H

#include "buckets.h"

/* The virtual address of a flow; *flow6* is NULL if its slot is a narrow one. */
static __always_inline void flow_virt(const struct xlvs_flow *flow, const struct xlvs_flow6 *flow6, struct xlvs_addr *virt)
{
	set_v4(virt, flow->virt);
	if (flow6) {
		virt->w[0] = flow6->virt[0];
		virt->w[1] = flow6->virt[1];
		virt->w[2] = flow6->virt[2];
	}
}

static __always_inline void flow_client(const struct xlvs_flow *flow, const struct xlvs_flow6 *flow6, struct xlvs_addr *client)
{
	set_v4(client, flow->client);
	if (flow6) {
		client->w[0] = flow6->client[0];
		client->w[1] = flow6->client[1];
		client->w[2] = flow6->client[2];
	}
}

static __always_inline int has_alias(__u64 word)
{
	return WORD_LOCAL(word) && WORD_FWD(word) != XLVS_FWD_nat;
}

/* Forget the name of this local client; it may be another's by now, with the same port. */
static __always_inline void alias_drop(const struct xlvs_alias_key *k, const struct xlvs_addr *client)
{
	struct xlvs_addr *named = bpf_map_lookup_elem(&flow_aliases, k);

	if (named && same_addr(named, client))
		bpf_map_delete_elem(&flow_aliases, k);
}

/* The name of a new flow's local client, or NULL. */
static __always_inline struct xlvs_alias_key *alias_of(const struct key *k)
{
	struct xlvs_server *s = server_at(k->server);
	struct xlvs_alias_key *a = scratch_at(0);

	if (!s || !a)
		return NULL;
	memset(a, 0, sizeof(*a));
	a->own = s->src;
	a->virt = k->other;
	a->cport = k->ports;
	a->vport = k->ports >> 16;
	a->proto = k->proto;
	return a;
}

/* Give a new flow's local client its name, or take it back.  A global function, for the stack's sake. */
__noinline int xlvs_alias_change(const struct key *k, int add)
{
	struct xlvs_alias_key *a;
	struct xlvs_addr client;

	if (!k)
		return 0;
	a = alias_of(k);
	if (!a)
		return 0;
	client = k->client;
	if (add)
		return !bpf_map_update_elem(&flow_aliases, a, &client, BPF_ANY);
	alias_drop(a, &client);
	return 1;
}

#endif
