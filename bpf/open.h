/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entering a flow into the table, and taking one out.
 *
 * A slot changes hands by its word alone: whoever swaps the word of a flow for
 * a free or BUSY one has ended that flow, and takes it out of its server's
 * load, once.  Only that is needed to end a flow.  To enter one, the stripe of
 * its buckets is locked, so that two CPUs with the first two packets of a flow
 * do not enter it twice; packets of flows that are in the table never look at
 * the lock.
 *
 * Where a new flow goes: a slot of its bucket, or of the one beside, that is
 * free or whose flow is idle for too long; then the spill; then the slot of the
 * flow, in a state in which no connection is in use, that was seen longest
 * ago.  Flows in use are never ended for a new one; nor is one that is half
 * open for less than a second: its client's ACK may be on the way.
 */
#ifndef XLVS_OPEN_H
#define XLVS_OPEN_H

#include "alias.h"
#include "load.h"
#include "lock.h"
#include "spill.h"

static const __u64 states_reclaim = 0
#define XLVS_STATE(number, name, idle, active, reclaim) | ONE_STATE(number, reclaim)
#include "tbl/state.h"
#undef XLVS_STATE
;

/* Jiffies since the flow's last packet. */
static __always_inline __u32 flow_age(const struct xlvs_flow *flow, __u32 now)
{
	__u32 age = now - READ_ONCE(flow->seen);

	return age < AGE_AHEAD ? age : 0;
}

/* Jiffies without a packet after which a flow ends. */
static __always_inline __u32 idle_of(const struct xlvs_flow *flow, __u8 state)
{
	struct xlvs_config *c = the_config();
	__u32 seconds = is_template(state) ? READ_ONCE(flow->in_bytes) : 0;

	if (!c)
		return ~0u;
	return seconds ? seconds * c->hz : c->idle[state & (XLVS_STATE_CODES - 1)];
}

static __always_inline int is_idle(const struct xlvs_flow *flow, __u8 state, __u32 now)
{
	return flow_age(flow, now) > idle_of(flow, state);
}

/* The same of a flow that a packet is of: no template. */
static __always_inline int is_over(const struct xlvs_flow *flow, __u8 state, __u32 now)
{
	struct xlvs_config *c = the_config();

	return c && flow_age(flow, now) > c->idle[state & (XLVS_STATE_CODES - 1)];
}

/* A word that holds no flow, or not yet, after *word*. */
static __always_inline __u64 unused_word(__u64 word, __u8 place)
{
	__u32 taken = LIFE(word) >> XLVS_FLOW_TAKEN_SHIFT & 3;

	if (place == XLVS_FLOW_BUSY)
		taken = (taken + 1) & 3;
	return (__u64)(taken << XLVS_FLOW_TAKEN_SHIFT | (place ^ XLVS_FLOW_FREE)) << 32;
}

static __always_inline int swap_word(struct xlvs_flow *flow, __u64 from, __u64 to)
{
	return __sync_val_compare_and_swap(word_at(flow), from, to) == from;
}

/* The name by which replies to a local client of route or ipip find it goes with the flow. */
static __always_inline int swap_local(struct xlvs_flow *flow, struct xlvs_flow6 *flow6, __u64 from, __u64 to)
{
	struct xlvs_server *s = server_at(WORD_SERVER(from));
	struct xlvs_alias_key *k = scratch_at(0);
	struct xlvs_addr client;

	if (!s || !k)
		return 0;
	flow_client(flow, flow6, &client);
	memset(k, 0, sizeof(*k));
	k->own = s->src;
	flow_virt(flow, flow6, &k->virt);
	k->cport = flow->cport;
	k->vport = flow->vport;
	k->proto = proto_of(LIFE_CLASS(LIFE(from)));
	if (!swap_word(flow, from, to))
		return 0;
	alias_drop(k, &client);
	return 1;
}

/* Swap the flow's word for *unused*; false: another CPU changed it first. */
static __always_inline int flow_leave(struct xlvs_flow *flow, struct xlvs_flow6 *flow6, __u64 word, __u64 unused, __u32 place)
{
	int has_wide = !!((flow->in_bytes | flow->out_bytes) & XLVS_FLOW_WIDE);

	if (!(unlikely(has_alias(word)) ? swap_local(flow, flow6, word, unused) : swap_word(flow, word, unused)))
		return 0;
	load_add(WORD_SERVER(word), WORD_STATE(word), -1);
	load_ended(WORD_SERVER(word));
	if (unlikely(has_wide))
		bpf_map_delete_elem(&flow_wide, &place);
	count(XLVS_COUNT_flow_expired);
	return 1;
}

/* End a flow in the table whose word is still *word*. */
static __always_inline int flow_end(struct xlvs_flow *flow, struct xlvs_flow6 *flow6, __u64 word, __u32 place)
{
	return flow_leave(flow, flow6, word, unused_word(word, XLVS_FLOW_FREE), place);
}

/* End a flow that was found by *k*; false: another CPU changed it first. */
static __always_inline int found_end(struct found *found, const struct key *k)
{
	if (!flow_end(found->flow, found->flow6, found->word, found->place))
		return 0;
	if (found->place & XLVS_PLACE_SPILL && !(found->place & XLVS_PLACE_V6)) {
		struct xlvs_head *h = the_head();
		struct ends e = ends_in(k);

		if (h)
			spill_drop(k, found->place, stripe_of(h, bucket_of(h, &e), k->v6));
	}
	return 1;
}

#define NO_SLOT		0xff

/*
 * Choose among the two buckets' slots the one for a new flow: free or idle, or
 * with *reclaim* over, or half open for a second.  NO_SLOT: none.  *word* is
 * what it holds.
 */
static __always_inline __u32 choose_slot(const struct xlvs_head *h, __u32 bucket, __u32 now, int reclaim, int v6, __u64 *word)
{
	struct xlvs_config *c = the_config();
	__u32 oldest = 0, chosen = NO_SLOT, patience = c ? c->hz : 0, i;

	for (i = 0; i < 2 * XLVS_WAYS; i++) {
		void *at = bucket_at(bucket ^ (i >= XLVS_WAYS), v6);
		struct xlvs_flow *flow;
		__u64 w;
		__u8 state;

		if (!at)
			return NO_SLOT;
		flow = slot_of(at, i % XLVS_WAYS, v6);
		w = READ_ONCE(*word_at(flow));
		state = WORD_STATE(w);
		if (!reclaim) {
			if ((state & 15) == XLVS_FLOW_FREE || (IS_LIVE(w) && is_idle(flow, state, now))) {
				*word = w;
				return BLUR(i, h, 2 * XLVS_WAYS);
			}
		} else if (IS_LIVE(w) && states_reclaim >> state & 1 && flow_age(flow, now) >= (is_active(state) && oldest < patience ? patience : oldest)) {
			oldest = flow_age(flow, now);
			*word = w;
			chosen = BLUR(i, h, 2 * XLVS_WAYS);
		}
	}
	return chosen;
}

static __always_inline __u64 word_of(const struct key *k, __u64 before)
{
	__u32 life = k->server << XLVS_FLOW_SERVER_SHIFT | (__u32)k->fwd << XLVS_FLOW_FWD_SHIFT | (k->local ? XLVS_FLOW_LOCAL : 0);

	life |= LIFE(before) & 3 << XLVS_FLOW_TAKEN_SHIFT;
	life |= k->state ^ XLVS_FLOW_FREE;
	return (__u64)life << 32 | k->other.w[3];
}

/* Everything but the word. */
static __always_inline void fill(struct xlvs_flow *flow, struct xlvs_flow6 *flow6, const struct key *k)
{
	__u64 *w = (void *)flow;

	WRITE_ONCE(w[0], (__u64)k->ports << 32 | k->client.w[3]);
	WRITE_ONCE(w[2], k->now);
	WRITE_ONCE(w[3], 0);
	if (flow6) {
		WRITE_ONCE(flow6->client[0], k->client.w[0]);
		WRITE_ONCE(flow6->client[1], k->client.w[1]);
		WRITE_ONCE(flow6->client[2], k->client.w[2]);
		WRITE_ONCE(flow6->virt[0], k->other.w[0]);
		WRITE_ONCE(flow6->virt[1], k->other.w[1]);
		WRITE_ONCE(flow6->virt[2], k->other.w[2]);
	}
}

/* Enter the flow into this slot of the two buckets, if it still holds *word*. */
static __always_inline int take_slot(struct key *k, __u32 bucket, __u32 slot, __u64 word, int v6)
{
	__u32 number = bucket ^ (slot >= XLVS_WAYS);
	__u64 busy = unused_word(word, XLVS_FLOW_BUSY);
	struct xlvs_flow *flow = slot_at(number, slot, v6);
	struct xlvs_flow6 *flow6 = v6 ? (void *)flow : NULL;

	if (!flow)
		return 0;
	k->place = place_of(number, slot & (XLVS_WAYS - 1), v6);
	if (IS_LIVE(word) ? !flow_leave(flow, flow6, word, busy, k->place) : !swap_word(flow, word, busy))
		return 0;
	fill(flow, flow6, k);
	load_add(k->server, k->state, 1);
	k->word = word_of(k, busy);
	__sync_lock_test_and_set(word_at(flow), k->word);
	return 1;
}

enum opened { OPENED, OPEN_FULL, OPEN_RACED };

/* Enter the flow into a slot of its two buckets: one that is free or idle, or with *reclaim* in no connection's use. */
static __always_inline int enter(struct key *k, int reclaim, int v6)
{
	struct xlvs_head *h = the_head();
	struct ends e = ends_in(k);
	__u32 bucket, slot;
	__u64 word = 0;

	e.v6 = v6;
	if (!h)
		return OPEN_FULL;
	bucket = bucket_of(h, &e);
	slot = choose_slot(h, bucket, k->now, reclaim, v6, &word);
	if (slot == NO_SLOT)
		return OPEN_FULL;
	if (!take_slot(k, bucket, slot, word, v6))
		return OPEN_RACED;
	if (reclaim)
		count(XLVS_COUNT_flow_reclaimed);
	else if (slot >= XLVS_WAYS)
		count(XLVS_COUNT_flow_beside);
	return OPENED;
}

/*
 * The functions of this name, each one way to enter a flow that is not in the table yet and whose stripe is locked, are
 * verified on their own, and so many that the stack holds each of them.
 */
__noinline int xlvs_flow_enter4(struct key *k)
{
	return k ? enter(k, 0, 0) : OPEN_FULL;
}

__noinline int xlvs_flow_enter6(struct key *k)
{
	return k ? enter(k, 0, 1) : OPEN_FULL;
}

__noinline int xlvs_flow_reclaim4(struct key *k)
{
	return k ? enter(k, 1, 0) : OPEN_FULL;
}

__noinline int xlvs_flow_reclaim6(struct key *k)
{
	return k ? enter(k, 1, 1) : OPEN_FULL;
}

/* Enter a flow, for which its two buckets have no slot, into the spill. */
__noinline int xlvs_flow_spill(struct key *k)
{
	struct xlvs_head *h = the_head();
	struct xlvs_flow6 *flow = scratch_at(0);
	struct xlvs_stripe *stripe;
	struct xlvs_spill_key *s;
	struct ends e;
	__u64 word;
	int i;

	if (!k || !h || !flow || !READ_ONCE(h->spill))
		return OPEN_FULL;
	e = ends_in(k);
	stripe = stripe_of(h, bucket_of(h, &e), k->v6);
	s = spill_key(k, 0);
	if (!stripe || !s)
		return OPEN_FULL;
	/* Which flow had the entry before nobody knows: that this one differs from it is left to chance. */
	word = word_of(k, (__u64)bpf_get_prandom_u32() << 32);
	memset(flow, 0, sizeof(*flow));
	fill(&flow->low, flow, k);
	WRITE_ONCE(*word_at(&flow->low), word);
	/* Counted first: a packet of the flow that looks now must not pass the spill by. */
	__sync_fetch_and_add(&stripe->spilled, 1);
	load_add(k->server, k->state, 1);
	for (i = 0; i < XLVS_SPILL_WAYS; i++) {
		s->way = i;
		if (bpf_map_update_elem(&flow_spill, s, flow, BPF_NOEXIST))
			continue;
		k->place = XLVS_PLACE_SPILL | i;
		k->word = word;
		count(XLVS_COUNT_flow_spilled);
		return OPENED;
	}
	load_add(k->server, k->state, -1);
	__sync_fetch_and_add(&stripe->spilled, -1);
	return OPEN_FULL;
}

/*
 * The functions from here on are verified once, on their own.
 *
 * End the flow of *k* at this place, if its word is still *word*, or with 0 if it is idle for too long; 0: another CPU was first.
 */
__noinline int xlvs_flow_end(const struct key *k, __u32 place, __u64 word)
{
	struct found found;

	if (!k || !found_at(&found, k, place))
		return 0;
	if (word ? found.word != word : !is_idle(found.flow, WORD_STATE(found.word), k->now))
		return 0;
	return found_end(&found, k);
}

/* The place of the flow of these ends, marked PLACE_IDLE if it is idle for too long, or NO_PLACE. */
__noinline __u64 xlvs_flow_seek(struct key *k)
{
	struct found found;
	__u64 word = 0;
	__u32 place;

	if (!k)
		return NO_PLACE;
	place = k->v6 ? place_find(k, 1, &word) : place_find(k, 0, &word);
	if (place == NO_PLACE || !found_at(&found, k, place))
		return NO_PLACE;
	k->word = word;
	return is_idle(found.flow, WORD_STATE(word), k->now) ? place | PLACE_IDLE : place;
}

static __always_inline int flow_enter(struct key *k)
{
	int has_alias = k->local && k->fwd != XLVS_FWD_nat, opened;

	if (has_alias && !xlvs_alias_change(k, 1))
		return OPEN_FULL;
	opened = k->v6 ? xlvs_flow_enter6(k) : xlvs_flow_enter4(k);
	if (opened == OPEN_FULL)
		opened = xlvs_flow_spill(k);
	if (opened == OPEN_FULL)
		opened = k->v6 ? xlvs_flow_reclaim6(k) : xlvs_flow_reclaim4(k);
	if (has_alias && opened != OPENED)
		xlvs_alias_change(k, 0);
	return opened;
}

/*
 * Enter a flow; where it is, *k* says.  RACED: another CPU has just entered the same one, or is at it: look again.
 *
 * Two CPUs may each have looked for the flow in vain.  Who gets the lock at the version from before its look is the
 * first; whoever gets it at another looks again.
 */
static __always_inline int flow_open(struct key *k)
{
	struct locking l = { .version = k->sought ? k->version : 1 };
	struct xlvs_head *h = the_head();
	struct ends e = ends_in(k);
	struct xlvs_stripe *stripe;
	int opened = OPEN_RACED;
	__u64 place = NO_PLACE;

	if (!h)
		return OPEN_FULL;
	l.stripe = stripe_number(h, bucket_of(h, &e), k->v6);
	stripe = bpf_map_lookup_elem(&flow_stripes, &l.stripe);
	if (!stripe)
		return OPEN_FULL;
	if (l.version & 1 || __sync_val_compare_and_swap(&stripe->lock, l.version, l.version + 1) != l.version) {
		l.version = 1;
		bpf_loop(LOCK_TRIES, try_lock, &l, 0);
		if (l.version & 1)
			return OPEN_RACED;
		place = xlvs_flow_seek(k);
	}
	/* One that is idle for too long must be gone first: there are never two of the same ends. */
	if (place == NO_PLACE || (place & PLACE_IDLE && xlvs_flow_end(k, place, 0)))
		opened = flow_enter(k);
	if (opened == OPENED && READ_ONCE(stripe->used) != 1)
		WRITE_ONCE(stripe->used, 1);
	__sync_lock_test_and_set(&stripe->lock, l.version + 2);
	if (opened == OPENED)
		load_begun(k->server);
	k->sought = 0;
	return opened;
}

#endif
