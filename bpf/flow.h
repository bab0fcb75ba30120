/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The flow table: find, open, step, release.
 *
 * A flow is a slot of the array `flows`; `flow_index` leads to it from the
 * client's packets and, where the director sees them, from the replies.  Slots
 * are never unmapped, so a CPU may hold one while another CPU gives it away:
 * whoever reads compares the key, and every change of state is a
 * compare-and-swap of the whole word, whose generation differs by then.
 *
 * Whoever swaps a word to DEAD owns the slot: it alone deletes the keys, takes
 * the flow out of its server's load and gives the slot back.
 */
#ifndef XLVS_FLOW_H
#define XLVS_FLOW_H

#include "hook.h"
#include "tcp.h"

#define WORD(generation, flags, state)	((__u64)(generation) << 32 | (__u64)(flags) << 8 | (state))
#define WORD_STATE(word)		((__u8)(word))
#define WORD_FLAGS(word)		((__u8)((word) >> 8))
#define WORD_FWD(word)			((__u8)((word) >> 12) & 15)	/* a flow keeps the method it began with */
#define WORD_GENERATION(word)		((__u32)((word) >> 32))
#define FLAGS_OF_FWD(fwd)		((fwd) << XLVS_FLOW_FWD_SHIFT)

#define SECOND	1000000000ull
#define EEXIST	17

/* While it lasts, packets of flows that found no room are recognised by the stateless choice alone. */
#define OVERFLOW_NS	(900 * SECOND)

static const __u8 state_active[16] = {
#define XLVS_STATE(number, name, idle, active) [number] = active,
#include "tbl/state.h"
#undef XLVS_STATE
};

/* A flow as found: the slot and the word it had. */
struct found {
	struct xlvs_flow *flow;
	__u64	word;
	__u32	slot;
};

static __always_inline struct xlvs_config *the_config(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline struct xlvs_table *the_table(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&flow_table, &zero);
}

/* The server of a number, or of a choice. */
static __always_inline struct xlvs_server *server_at(__u32 number)
{
	number = CHOICE_NUMBER(number);
	return bpf_map_lookup_elem(&servers, &number);
}

/* Not inline: it is rarely called, and the walk's stack is full. */
static __noinline int is_epoch(__u32 turn)
{
	__u32 zero = 0, *now = bpf_map_lookup_elem(&epoch, &zero);

	return now && READ_ONCE(*now) == turn;
}

/* What changes with this epoch (0: never) has changed. */
static __always_inline int has_turned(__u32 turn)
{
	return unlikely(turn) && is_epoch(turn);
}

static __always_inline int server_lives(const struct xlvs_server *s)
{
	__u32 life = READ_ONCE(s->life);

	return (life ^ has_turned(life >> XLVS_LIFE_TURN_SHIFT)) & XLVS_LIFE_LIVE;
}

static __always_inline __u64 idle_ns(__u8 state)
{
	struct xlvs_config *c = the_config();

	return c ? c->idle_ns[state & 15] : 0;
}

static __always_inline void load_add(__u32 server, int inactive, int n)
{
	struct xlvs_load *l = bpf_map_lookup_elem(&loads, &server);

	if (l)
		__sync_fetch_and_add(inactive ? &l->inactive : &l->active, n);
}

/* *ports*: the client's in the low half. */
static __always_inline void set_key(struct xlvs_flow_key *k, const struct xlvs_addr *client, const struct xlvs_addr *other,
				    __u32 ports, __u8 proto, __u8 dir)
{
	k->client = *client;
	k->other = *other;
	*(wide *)&k->cport = ports | (__u64)proto << 32 | (__u64)dir << 40;
}

static __always_inline void forward_key(struct xlvs_flow_key *k, const struct pkt *p)
{
	set_key(k, &p->src, &p->dst, p->ports, p->proto, XLVS_DIR_FORWARD);
}

static __always_inline void reply_key(struct xlvs_flow_key *k, const struct pkt *p)
{
	set_key(k, &p->dst, &p->src, p->ports >> 16 | p->ports << 16, p->proto, XLVS_DIR_REPLY);
}

/* The key under which replies to the flow *fwd* on *s* arrive; false: they do not come this way. */
static __always_inline int key_of_replies(struct xlvs_flow_key *k, const struct xlvs_flow_key *fwd,
					  const struct xlvs_server *s, __u8 flags)
{
	*k = *fwd;
	k->dir = XLVS_DIR_REPLY;
	if (flags >> XLVS_FLOW_FWD_SHIFT == XLVS_FWD_nat) {
		k->other = s->addr;
		k->oport = s->port;
		return 1;
	}
	if (flags & XLVS_FLOW_LOCAL) {
		k->client = s->src;
		return 1;
	}
	return 0;
}

static __always_inline int same_key(const struct xlvs_flow_key *a, const struct xlvs_flow_key *b)
{
	const __u64 *x = (const void *)a, *y = (const void *)b;

	return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3] && x[4] == y[4];
}

/* Take a dead flow's traces away and give its slot back.  Only for the CPU that swapped *word* to DEAD. */
static __noinline int flow_bury(struct xlvs_flow *flow, __u32 slot, __u64 word)
{
	struct xlvs_server *s = server_at(flow->server);
	struct xlvs_table *t = the_table();
	struct xlvs_flow_key k;

	bpf_map_delete_elem(&flow_index, &flow->key);
	if (s && key_of_replies(&k, &flow->key, s, WORD_FLAGS(word))) {
		__u32 *of = bpf_map_lookup_elem(&flow_index, &k);

		/* A newer flow of the same ends may have taken the key over. */
		if (of && *of == slot)
			bpf_map_delete_elem(&flow_index, &k);
	}
	load_add(flow->server, WORD_FLAGS(word) & XLVS_FLOW_INACTIVE, -1);
	if (t)
		__sync_fetch_and_add(&t->live, -1);
	bpf_map_push_elem(&flow_free, &slot, 0);
	count(XLVS_COUNT_flow_expired);
	return 0;
}

/* End a flow whose word is still *word*; false: another CPU changed it first. */
static __always_inline int flow_end(struct xlvs_flow *flow, __u32 slot, __u64 word)
{
	__u64 dead = WORD(WORD_GENERATION(word), 0, XLVS_STATE_DEAD);

	if (__sync_val_compare_and_swap(&flow->word, word, dead) != word)
		return 0;
	flow_bury(flow, slot, word);
	return 1;
}

static __always_inline int is_key_of(const struct xlvs_flow *flow, __u64 word, const struct xlvs_flow_key *k)
{
	const struct xlvs_flow_key *fwd = &flow->key;
	struct xlvs_server *s;

	if (k->dir == XLVS_DIR_FORWARD)
		return same_key(fwd, k);
	s = server_at(flow->server);
	if (!s || fwd->cport != k->cport || fwd->proto != k->proto)
		return 0;
	if (WORD_FWD(word) == XLVS_FWD_nat)
		return k->oport == s->port && same_addr(&k->other, &s->addr) && same_addr(&k->client, &fwd->client);
	return k->oport == fwd->oport && same_addr(&k->other, &fwd->other) && same_addr(&k->client, &s->src);
}

/* The live flow of this key. */
static __always_inline int flow_find(struct found *found, const struct xlvs_flow_key *k, __u64 now)
{
	__u32 *slot = bpf_map_lookup_elem(&flow_index, k);
	struct xlvs_flow *flow;
	__u64 word;

	if (!slot)
		return 0;
	found->slot = *slot;
	flow = bpf_map_lookup_elem(&flows, &found->slot);
	if (!flow)
		return 0;
	word = READ_ONCE(flow->word);
	if (WORD_STATE(word) == XLVS_STATE_DEAD || !is_key_of(flow, word, k))
		return 0;
	if (now > flow->seen + idle_ns(WORD_STATE(word))) {
		flow_end(flow, found->slot, word);
		return 0;
	}
	found->flow = flow;
	found->word = word;
	return 1;
}

/* The same, out of line: for all but a packet's first lookup. */
static __noinline int flow_seek(struct found *found, const struct xlvs_flow_key *k, __u64 now)
{
	return found && k ? flow_find(found, k, now) : 0;
}

/* A slot nobody uses, or the table is full. */
static __always_inline int slot_take(__u32 *slot)
{
	struct xlvs_config *c = the_config();
	struct xlvs_table *t = the_table();

	if (!c || !t)
		return 0;
	if (!bpf_map_pop_elem(&flow_free, slot))
		return 1;
	if (READ_ONCE(t->next) >= c->max_flows)
		return 0;
	*slot = __sync_fetch_and_add(&t->next, 1);
	if (*slot < c->max_flows)
		return 1;
	__sync_fetch_and_add(&t->next, -1);
	return 0;
}

enum opened { OPENED, OPEN_FULL, OPEN_RACED };

/*
 * Enter a flow from *k* to *server*.  RACED: another CPU has just entered the
 * same flow, or is still burying its predecessor; look again.  *k* does not
 * keep its value: the stack has no room for a second key.
 */
static __noinline int flow_open(struct found *found, struct xlvs_flow_key *k, __u32 server, __u64 state_flags)
{
	struct xlvs_server *s = server_at(server);
	struct xlvs_table *t = the_table();
	__u8 state = state_flags, flags = state_flags >> 8;
	struct xlvs_flow *flow;
	__u64 now = coarse_now();
	__u32 slot;
	long err;

	if (!found || !k || !s || !t || !slot_take(&slot))
		return OPEN_FULL;
	flow = bpf_map_lookup_elem(&flows, &slot);
	if (!flow)
		return OPEN_FULL;
	if (!state_active[state & 15])
		flags |= XLVS_FLOW_INACTIVE;
	memset(&flow->in_pkts, 0, 4 * sizeof(__u64));
	flow->key = *k;
	flow->seen = now;
	flow->born = now;
	flow->server = server;
	flow->service = s->service;
	flow->to_server.out = 0;
	flow->to_client.out = 0;
	found->word = WORD(WORD_GENERATION(flow->word) + 1, flags, state);
	found->flow = flow;
	found->slot = slot;
	load_add(server, flags & XLVS_FLOW_INACTIVE, 1);
	__sync_fetch_and_add(&t->live, 1);
	__sync_lock_test_and_set(&flow->word, found->word);

	err = bpf_map_update_elem(&flow_index, k, &slot, BPF_NOEXIST);
	if (!err && key_of_replies(k, &flow->key, s, flags)) {
		/* Two flows of one client port to one server port, by different VIPs, clash as in IPVS: the newer wins. */
		err = bpf_map_update_elem(&flow_index, k, &slot, BPF_ANY);
		if (err)
			bpf_map_delete_elem(&flow_index, &flow->key);
	}
	if (!err) {
		count(XLVS_COUNT_flow_opened);
		return OPENED;
	}
	load_add(server, flags & XLVS_FLOW_INACTIVE, -1);
	__sync_fetch_and_add(&t->live, -1);
	__sync_lock_test_and_set(&flow->word, WORD(WORD_GENERATION(found->word), 0, XLVS_STATE_DEAD));
	bpf_map_push_elem(&flow_free, &slot, 0);
	return err == -EEXIST ? OPEN_RACED : OPEN_FULL;
}

/* Let a packet change the flow's state, and with it what the flow counts as. */
static __always_inline void flow_step(struct found *found, const struct pkt *p, int reply)
{
	__u8 state = WORD_STATE(found->word), flags = WORD_FLAGS(found->word), next;
	int was_inactive = flags & XLVS_FLOW_INACTIVE;
	int inactive;
	__u64 word;

	if (p->proto != IPPROTO_TCP || p->frag == FRAG_LATER)
		return;
	next = tcp_step(state, p->tcp, reply ? TCP_OUTPUT : flags & XLVS_FLOW_NOOUTPUT ? TCP_INPUT_ONLY : TCP_INPUT);
	if (likely(next == state))
		return;
	inactive = state_active[next & 15] ? 0 : XLVS_FLOW_INACTIVE;
	word = WORD(WORD_GENERATION(found->word), (flags & ~XLVS_FLOW_INACTIVE) | inactive, next);
	if (__sync_val_compare_and_swap(&found->flow->word, found->word, word) != found->word)
		return;		/* the other direction's packet was first; the next one catches up */
	found->word = word;
	if (inactive == was_inactive)
		return;
	load_add(found->flow->server, was_inactive, -1);
	load_add(found->flow->server, inactive, 1);
}

static __always_inline struct xlvs_stats *stats_of(void *map, __u32 number)
{
	return bpf_map_lookup_elem(map, &number);
}

#define account_in(stats, bytes)  do { if (stats) { (stats)->in_pkts++; (stats)->in_bytes += (bytes); } } while (0)
#define account_out(stats, bytes) do { if (stats) { (stats)->out_pkts++; (stats)->out_bytes += (bytes); } } while (0)

/* Count one packet of the flow, and keep the flow alive. */
static __always_inline void flow_account(struct found *found, const struct pkt *p, int reply, __u64 now)
{
	struct xlvs_flow *flow = found->flow;
	struct xlvs_stats *server = stats_of(&server_stats, flow->server);
	struct xlvs_stats *service = stats_of(&service_stats, flow->service);

	WRITE_ONCE(flow->seen, now);
	if (reply) {
		account_out(flow, p->len);
		account_out(server, p->len);
		account_out(service, p->len);
	} else {
		account_in(flow, p->len);
		account_in(server, p->len);
		account_in(service, p->len);
	}
}

/* Count a new flow, or a packet that was forwarded without one. */
static __always_inline void account_open(__u32 server, __u32 service)
{
	struct xlvs_stats *st = stats_of(&server_stats, server);

	if (st)
		st->conns++;
	st = stats_of(&service_stats, service);
	if (st)
		st->conns++;
}

#endif
