/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The spill: the hash where the few flows are that found their two buckets
 * full.  It is looked into only for ends whose stripe has something there.
 * And with it all of a place: where a flow is, of the three it can be in.
 */
#ifndef XLVS_SPILL_H
#define XLVS_SPILL_H

#include "buckets.h"

/* The name of a flow in the spill, off the stack; NULL never. */
static __always_inline struct xlvs_spill_key *spill_key(const struct key *k, __u8 way)
{
	struct xlvs_spill_key *s = scratch_at(SPILL_KEY_AT);

	if (!s)
		return NULL;
	s->client = k->client;
	s->cport = k->ports;
	s->proto = k->proto;
	s->way = way;
	return s;
}

static __always_inline struct xlvs_flow6 *spill_at(const struct key *k, __u8 way)
{
	struct xlvs_spill_key *s = spill_key(k, way);

	return s ? bpf_map_lookup_elem(&flow_spill, s) : NULL;
}

/* Which of the spill's ways leads to the flow; XLVS_SPILL_WAYS: none. */
static __always_inline __u32 spill_find(const struct key *k, const struct ends *e, __u64 *word)
{
	__u32 i;

	for (i = 0; i < XLVS_SPILL_WAYS; i++) {
		struct xlvs_flow6 *flow = spill_at(k, i);

		if (flow && flow_is(&flow->low, e, 1, word))
			break;
	}
	return i;
}

static __always_inline int spill_drop(const struct key *k, __u8 way, struct xlvs_stripe *stripe)
{
	struct xlvs_spill_key *s = spill_key(k, way);

	if (!s || bpf_map_delete_elem(&flow_spill, s))
		return 0;
	if (stripe)
		__sync_fetch_and_add(&stripe->spilled, -1);
	return 1;
}

/*
 * The place of the flow of these ends, wherever it is: its bucket, the one beside, the spill; NO_PLACE: nowhere, as of
 * the version that the stripe's lock had.
 */
static __always_inline __u32 place_find(struct key *k, int v6, __u64 *word)
{
	struct xlvs_head *h = the_head();
	struct ends e = ends_in(k);
	struct xlvs_stripe *stripe;
	__u32 number, i, slot;

	e.v6 = v6;
	if (!h)
		return NO_PLACE;
	number = bucket_of(h, &e);
	stripe = stripe_of(h, number, v6);
	if (!stripe)
		return NO_PLACE;
	k->version = READ_ONCE(stripe->lock);
	for (i = 0; i < 2; i++) {
		void *bucket = bucket_at((number + AFTER(k->version)) ^ i, v6);

		if (!bucket)
			return NO_PLACE;
		slot = bucket_find(bucket, &e, v6, word);
		if (slot < XLVS_WAYS)
			return place_of(number ^ i, BLUR(slot, h, XLVS_WAYS), v6);
	}
	stripe = (void *)stripe + AFTER(k->version);
	if (!READ_ONCE(stripe->spilled))
		return NO_PLACE;
	slot = spill_find(k, &e, word);
	return slot < XLVS_SPILL_WAYS ? XLVS_PLACE_SPILL | BLUR(slot, h, XLVS_SPILL_WAYS) : NO_PLACE;
}

/* What is at this place now, which was that of the flow of *k*. */
static __always_inline int found_at(struct found *found, const struct key *k, __u32 place)
{
	__u32 number = (place & (XLVS_PLACE_SPILL - 1)) / XLVS_WAYS, slot = place % XLVS_WAYS;

	found->place = place;
	if (place & (XLVS_PLACE_V6 | XLVS_PLACE_SPILL)) {
		found->flow6 = place & XLVS_PLACE_V6 ? slot_at(number, slot, 1) : spill_at(k, slot);
		if (!found->flow6)
			return 0;
		found->flow = &found->flow6->low;
	} else {
		found->flow6 = NULL;
		found->flow = slot_at(number, slot, 0);
		if (!found->flow)
			return 0;
	}
	found->word = READ_ONCE(*word_at(found->flow));
	return IS_LIVE(found->word);
}

#endif
