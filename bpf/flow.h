/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flows, as the walk sees them: find, step, account.
 *
 * The table behind is buckets.h and spill.h (where a flow lies) and open.h (how
 * it gets in and out).  A CPU may hold a slot while another gives it away: a change of
 * state is a compare-and-swap of the whole word, and counts only if it is
 * still the word that was found.
 */
#ifndef XLVS_FLOW_H
#define XLVS_FLOW_H

#ifndef XLVS_TABLE		/* the benchmark has another, to compare with */
#define XLVS_TABLE	"open.h"
#endif
#include XLVS_TABLE

#define SECOND	1000000000ull

/* While it lasts, packets of flows that found no room are recognised by the stateless choice alone. */
#define OVERFLOW_S	900

/* Bytes of a flow beyond which its counter is emptied into `flow_wide`. */
#define WIDE_BYTES	(1u << 30)

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

static __always_inline struct ends ends_forward(const struct pkt *p)
{
	struct ends e = { .client = &p->src, .other = &p->dst, .ports = p->ports, .proto = p->proto, .v6 = p->v6 };

	return e;
}

static __always_inline struct ends ends_reply(const struct pkt *p)
{
	struct ends e = { .client = &p->dst, .other = &p->src, .ports = p->ports >> 16 | p->ports << 16, .proto = p->proto,
			  .reply = 1, .v6 = p->v6 };

	return e;
}

/* The key of a flow from *client* to *other*, in this CPU's one place for it; NULL never. */
static __always_inline struct key *key_of(const struct xlvs_addr *client, const struct xlvs_addr *other, __u32 ports,
					  __u8 proto, __u8 v6, __u8 reply)
{
	struct key *k = scratch_at(KEY_AT);

	if (!k)
		return NULL;
	k->client = *client;
	k->other = *other;
	k->ports = ports;
	k->now = bpf_jiffies64();
	k->proto = proto;
	k->v6 = v6;
	k->reply = reply;
	k->sought = 0;
	return k;
}

static __always_inline struct key *key_forward(const struct pkt *p)
{
	return key_of(&p->src, &p->dst, p->ports, p->proto, p->v6, 0);
}

static __always_inline struct key *key_reply(const struct pkt *p)
{
	return key_of(&p->dst, &p->src, p->ports >> 16 | p->ports << 16, p->proto, p->v6, 1);
}

/* The flow that was at this place a moment ago; false: another may be there by now. */
static __always_inline int flow_at(struct found *found, const struct key *k, __u32 place)
{
	return found_at(found, k, place) && !((found->word ^ k->word) & IDENTITY);
}

/* The live flow of these ends, wherever it is; one that is idle for too long ends here. */
static __always_inline int flow_seek(struct found *found, struct key *k)
{
	__u64 place;

	if (!found || !k)
		return 0;
	place = xlvs_flow_seek(k);
	if (place & PLACE_IDLE) {
		/* Not over after all: another CPU had a packet of it, a moment before this one. */
		if (!xlvs_flow_end(k, place, 0))
			k->version |= 1;
		return 0;
	}
	return place != NO_PLACE && flow_at(found, k, place);
}

/* Let a packet change the flow's state, and with it what the flow counts as. */
static __always_inline void flow_step(struct found *found, const struct pkt *p, int reply)
{
	__u8 state = WORD_STATE(found->word), next;
	int active, was_active;
	__u64 word;

	if (p->frag == FRAG_LATER)
		return;
	if (p->proto == IPPROTO_TCP)
		next = tcp_step(state, p->tcp, reply ? TCP_OUTPUT : WORD_FWD(found->word) == XLVS_FWD_nat ? TCP_INPUT : TCP_INPUT_ONLY,
				is_on(XLVS_SYSCTL_SECURE_TCP));
#ifndef XLVS_XDP
	else if (p->proto == IPPROTO_SCTP)
		next = sctp_step(state, p->sctp, reply ? SCTP_OUTPUT : WORD_FWD(found->word) == XLVS_FWD_nat ? SCTP_INPUT : SCTP_INPUT_ONLY);
#endif
	else
		return;
	if (likely(next == state))
		return;
	word = WITH_STATE(found->word, next);
	if (!swap_word(found->flow, found->word, word))
		return;		/* the other direction's packet was first; the next one catches up */
	found->word = word;
	active = is_active(next);
	was_active = is_active(state);
	if (active == was_active)
		return;
	xlvs_load_move(WORD_SERVER(word), state, next);
}

static __always_inline struct xlvs_stats *stats_of(void *map, __u32 number)
{
	return bpf_map_lookup_elem(map, &number);
}

#define account_in(stats, bytes)  do { if (stats) { (stats)->in_pkts++; (stats)->in_bytes += (bytes); } } while (0)
#define account_out(stats, bytes) do { if (stats) { (stats)->out_pkts++; (stats)->out_bytes += (bytes); } } while (0)

/* Empty a counter that is nearly full. */
static __noinline int flow_widen(__u32 *bytes, __u32 place, int reply)
{
	struct xlvs_wide *wide, none = {};
	__u32 was;

	if (!bytes)
		return 0;
	wide = bpf_map_lookup_elem(&flow_wide, &place);
	if (!wide && !(place & XLVS_PLACE_SPILL)) {
		bpf_map_update_elem(&flow_wide, &place, &none, BPF_NOEXIST);
		wide = bpf_map_lookup_elem(&flow_wide, &place);
	}
	if (!wide) {
		WRITE_ONCE(*bytes, WIDE_BYTES - 1);
		return 0;
	}
	was = READ_ONCE(*bytes);
	if (!(was & WIDE_BYTES) || __sync_val_compare_and_swap(bytes, was, (was - WIDE_BYTES) | XLVS_FLOW_WIDE) != was)
		return 0;	/* another CPU counts, too; the next packet sees to it */
	__sync_fetch_and_add(reply ? &wide->out_bytes : &wide->in_bytes, WIDE_BYTES);
	return 1;
}

/* Count one packet of the flow. */
static __always_inline void flow_count(struct found *found, const struct pkt *p, __u32 service, int reply)
{
	struct xlvs_stats *to_server = stats_of(&server_stats, WORD_SERVER(found->word));
	struct xlvs_stats *to_service = stats_of(&service_stats, service);
	__u32 *bytes = reply ? &found->flow->out_bytes : &found->flow->in_bytes;
	__u32 sum = *bytes + p->len;

	WRITE_ONCE(*bytes, sum);
	if (unlikely(sum & WIDE_BYTES))
		flow_widen(bytes, found->place, reply);
	if (reply) {
		account_out(to_server, p->len);
		account_out(to_service, p->len);
	} else {
		account_in(to_server, p->len);
		account_in(to_service, p->len);
	}
}

/* The flow had a packet just now. */
static __always_inline void flow_touch(struct xlvs_flow *flow, __u32 now)
{
	if (READ_ONCE(flow->seen) != now)
		WRITE_ONCE(flow->seen, now);
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
