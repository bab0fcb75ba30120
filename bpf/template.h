/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Templates: how a persistent service remembers which server a client has
 * (net/netfilter/ipvs/ip_vs_core.c, ip_vs_sched_persist).
 *
 * A template is an entry of the flow table whose ends are the client, masked,
 * and the service: its address, its port (0: the service takes every port), and
 * in the place of the client's port its protocol.  It is idle for as long as
 * the client has opened no connection, ends after a time of its own, and does
 * not end while a connection has an entry: the sweep, which goes through the
 * table every two seconds, then puts it off by a minute.
 */
#ifndef XLVS_TEMPLATE_H
#define XLVS_TEMPLATE_H

#include "flow.h"

#define TEMPLATE_AT	640	/* in the scratch map: its key */
#define TEMPLATE_REST	60	/* seconds that a template is put off by while a connection is there */

static __always_inline void mask_client(struct xlvs_addr *a, __u32 mask, int v6)
{
	int i;

	if (!v6) {
		a->w[3] &= mask;
		return;
	}
	if (!mask || mask > 128)
		return;
	for (i = 0; i < 4; i++) {
		__s32 bits = (__s32)mask - 32 * i;

		if (bits <= 0)
			a->w[i] = 0;
		else if (bits < 32)
			a->w[i] &= htonl(~0u << (32 - bits));
	}
}

/* The template of this client of the service that has this address, port and protocol. */
static __always_inline void template_key(struct key *t, const struct xlvs_addr *client, __u32 mask, const struct xlvs_addr *addr,
					 __be16 port, __u8 proto, __u8 v6)
{
	t->client = *client;
	mask_client(&t->client, mask, v6);
	t->other = *addr;
	t->ports = htons(proto) | (__u32)port << 16;
	t->proto = XLVS_PROTO_TEMPLATE;
	t->v6 = v6;
	t->reply = 0;
	t->local = 0;
	t->sought = 0;
	t->now = bpf_jiffies64();
}

/* Is its server still one to go to? */
static __always_inline int template_holds(const struct key *t)
{
	struct xlvs_server *s = server_at(WORD_SERVER(t->word));
	struct xlvs_config *c = the_config();

	if (!s || !c || !server_lives(s))
		return 0;
	return !(c->sysctls & XLVS_SYSCTL_EXPIRE_QUIESCENT && s->flags & XLVS_SERVER_QUIESCENT);
}

/* A connection was opened by the template at this place, which is to last so many seconds from now. */
static __always_inline void template_renew(const struct key *t, __u32 place, __u32 seconds)
{
	struct found found;

	if (!found_at(&found, t, place) || ((found.word ^ t->word) & IDENTITY))
		return;
	WRITE_ONCE(found.flow->in_bytes, seconds);
	flow_touch(found.flow, t->now);
}

/*
 * The server that the template of *t* says, as a choice; XLVS_NO_SERVER: there is no such template, or none that holds.
 * Verified once, on its own.
 */
__noinline __u32 xlvs_template_find(struct key *t, __u32 seconds)
{
	struct xlvs_server *s;
	__u64 place;

	if (!t)
		return XLVS_NO_SERVER;
	place = xlvs_flow_seek(t);
	if (place == NO_PLACE)
		return XLVS_NO_SERVER;
	if (place & PLACE_IDLE) {
		xlvs_flow_end(t, place, 0);
		t->version |= 1;
		return XLVS_NO_SERVER;
	}
	if (!template_holds(t)) {
		xlvs_flow_end(t, place, t->word);
		t->version |= 1;
		return XLVS_NO_SERVER;
	}
	template_renew(t, place, seconds);
	s = server_at(WORD_SERVER(t->word));
	return s ? WORD_SERVER(t->word) | (__u32)s->fwd << XLVS_CHOICE_FWD_SHIFT : XLVS_NO_SERVER;
}

/* Remember the choice for *t*.  False: another CPU was first, whose choice holds. */
__noinline int xlvs_template_open(struct key *t, __u32 choice, __u32 seconds)
{
	int opened;

	if (!t)
		return 1;
	t->server = CHOICE_NUMBER(choice);
	t->fwd = CHOICE_FWD(choice);
	t->state = XLVS_STATE_ASSURED;
	t->sought = 1;
	opened = flow_open(t);
	if (opened == OPENED)
		template_renew(t, t->place, seconds);
	return opened != OPEN_RACED;
}

/* A flow at this place, of a persistent service, goes on: so does its template. */
__noinline int xlvs_template_keep(__u32 place)
{
	struct xlvs_config *c = the_config();
	struct xlvs_options *o;
	struct xlvs_server *s;
	struct xlvs_addr client;
	struct key t = {};
	struct found found;
	__u32 number, own;
	__u64 at;

	if (!c || place & XLVS_PLACE_SPILL || !found_at(&found, &t, place))
		return 0;
	number = WORD_SERVER(found.word);
	s = server_at(number);
	o = bpf_map_lookup_elem(&server_options, &number);
	if (!s || !o)
		return 0;
	flow_client(found.flow, found.flow6, &client);
	template_key(&t, &client, o->mask, &s->virt, s->vport, s->proto, !!(place & XLVS_PLACE_V6));
	at = xlvs_flow_seek(&t);
	if (at == NO_PLACE || at & PLACE_IDLE || !found_at(&found, &t, at) || ((found.word ^ t.word) & IDENTITY))
		return 0;
	own = idle_of(found.flow, WORD_STATE(found.word));
	if (own - flow_age(found.flow, t.now) < TEMPLATE_REST * c->hz)
		WRITE_ONCE(found.flow->seen, t.now - own + TEMPLATE_REST * c->hz);	/* perhaps ahead of the clock */
	return 1;
}

#endif
