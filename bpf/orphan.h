/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flows that end with their next packet for want of a server, as expire_nodest_conn says (ip_vs_in_hook). */
#ifndef XLVS_ORPHAN_H
#define XLVS_ORPHAN_H

#include "choose.h"

struct seek_drained {
	__u32	block;
	__u32	n;
	__u32	server;
	__u32	drained;
};

static long seek_drained(__u32 i, struct seek_drained *f)
{
	__u32 number = f->block + i, place = i * XLVS_SLOTS_PER_BLOCK;
	const struct xlvs_block *block = bpf_map_lookup_elem(&slots, &number);
	int j;

	if (!block)
		return 1;
	for (j = 0; j < XLVS_SLOTS_PER_BLOCK && place < f->n; j++, place++) {
		if (CHOICE_NUMBER(block->slot[j].choice) == f->server) {
			f->drained = !block->slot[j].weight;
			return 1;
		}
	}
	return 0;
}

/* The server takes no new flows: its weight is 0. */
static __noinline int is_drained(const struct xlvs_server *s, __u32 number)
{
	struct seek_drained f = { .server = number };
	struct xlvs_service *svc;

	if (!s)
		return 0;
	svc = service_find(&s->virt, s->vport, s->proto);
	if (!svc)
		return 0;
	f.block = svc->block;
	f.n = svc->n;
	bpf_loop(blocks_of(f.n), seek_drained, &f, 0);
	return f.drained;
}

/* The server of the packet's flow was deleted, or it is a SYN and the server's weight is 0: the flow ends. */
static __noinline int is_orphan(struct walk *w)
{
	struct xlvs_server *s;
	struct key *k;
	int opens;

	if (!w || !w->found.flow)
		return 0;
	s = server_at(w->server);
	if (!s)
		return 0;
	opens = w->p.proto == IPPROTO_TCP ? tcp_opens(w->p.tcp) : w->p.proto == IPPROTO_SCTP && w->p.sctp == SCTP_INIT;
	if (server_lives(s) && !(opens && is_drained(s, w->server)))
		return 0;
	k = key_forward(&w->p);
	if (!k)
		return 0;
	xlvs_flow_end(k, w->found.place, w->found.word);
	w->found.flow = NULL;
	return 1;
}

#endif
