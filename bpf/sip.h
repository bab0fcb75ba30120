/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Persistence by the Call-ID of SIP over UDP (RFC 3261 §20.8; ip_vs_pe_sip.c,
 * nf_conntrack_sip.c): datagrams of a client with one Call-ID have one server,
 * whatever ports they come from.  A template's client is then a digest of the
 * client's address, masked, and the Call-ID; `sip_calls` says what it stands for.
 *
 * XDP leaves what may open a flow of such a service to TC.
 */
#ifndef XLVS_SIP_H
#define XLVS_SIP_H

#include "choose.h"

#ifndef XLVS_XDP

#define UDP_HEADER	8

enum { SIP_TEXT, SIP_CR, SIP_LINE, SIP_NAME, SIP_COMPACT, SIP_COLON, SIP_BLANK, SIP_VALUE, SIP_DONE, SIP_FAIL };

static __always_inline int is_letter(__u8 c)
{
	c |= 0x20;
	return c >= 'a' && c <= 'z';
}

/* A character of a word (RFC 3261 §25.1). */
static __always_inline int is_word(__u8 c)
{
	return is_letter(c) || (c >= '0' && c <= '9') || c == '!' || c == '"' || c == '%' || c == '\'' || (c >= '(' && c <= '+') ||
	       (c >= '-' && c <= '/') || c == ':' || c == '<' || c == '>' || c == '?' || (c >= '[' && c <= ']') || c == '_' ||
	       c == '`' || c == '{' || c == '}' || c == '~';
}

static __always_inline void sip_mix(struct xlvs_sip *s, __u64 value)
{
	s->hash[0] = (s->hash[0] ^ value) * 0x9fb21c651e98df25ull;
	s->hash[0] ^= s->hash[0] >> 29;
	s->hash[1] = (s->hash[1] ^ value) * 0xbf58476d1ce4e5b9ull;
	s->hash[1] ^= s->hash[1] >> 32;
}

static __always_inline int sip_append(struct xlvs_sip *s, __u8 c)
{
	if (s->call.len >= XLVS_CALL_MAX)
		return SIP_FAIL;
	s->call.id[s->call.len & 255] = c;
	s->call.len++;
	sip_mix(s, c);
	return SIP_VALUE;
}

/* A Call-ID is a word, or two with an @ in between, and the line ends behind it. */
static __always_inline int sip_value(struct xlvs_sip *s, __u8 c)
{
	if (is_word(c)) {
		s->domain = s->at;
		return sip_append(s, c);
	}
	if (c == '@' && !s->at && s->call.len) {
		s->at = 1;
		return sip_append(s, c);
	}
	return (c == '\r' || c == '\n') && s->call.len && s->at == s->domain ? SIP_DONE : SIP_FAIL;
}

static __always_inline int sip_plain(__u8 c)
{
	return c == '\r' ? SIP_CR : c == '\n' ? SIP_LINE : SIP_TEXT;
}

/* At the beginning of a line that may be the header, or within its name. */
static __always_inline int sip_name(struct xlvs_sip *s, __u8 c, int begins)
{
	static const __u8 name[8] = "call-id";

	if (begins)
		s->matched = 0;
	if (c < ' ' || (begins && c == ' '))
		return sip_plain(c);
	if (begins && (c | 0x20) == 'i')
		return SIP_COMPACT;
	if ((c | 0x20) != name[s->matched & 7])
		return SIP_TEXT;
	return ++s->matched == 7 ? SIP_COLON : SIP_NAME;
}

static __always_inline int sip_next(struct xlvs_sip *s, __u8 c)
{
	switch (s->state) {
	case SIP_TEXT:
		return sip_plain(c);
	case SIP_CR:
		return c == '\n' ? SIP_LINE : sip_name(s, c, 1);
	case SIP_LINE:
		return sip_name(s, c, 1);
	case SIP_NAME:
		return sip_name(s, c, 0);
	case SIP_COMPACT:
		if (is_letter(c))
			return SIP_TEXT;
		/* fallthrough */
	case SIP_COLON:
		return c == ':' ? SIP_BLANK : c == ' ' ? SIP_COLON : SIP_FAIL;
	case SIP_BLANK:
		return c == ' ' ? SIP_BLANK : sip_value(s, c);
	}
	return sip_value(s, c);
}

static long sip_character(__u32 i, void *unused)
{
	struct xlvs_sip *s = the_sip();

	(void)unused;
	if (!s || i >= s->size)
		return 1;
	s->state = sip_next(s, s->bytes[i & (XLVS_SIP_TEXT - 1)]);
	return s->state >= SIP_DONE;
}

/* Read the Call-ID, and note what it stands for. */
static __always_inline void sip_scan(struct xlvs_sip *s, const struct xlvs_addr *client, __u32 mask, int v6)
{
	struct xlvs_head *h = the_head();

	s->state = SIP_TEXT;
	s->at = s->domain = 0;
	memset(&s->call, 0, sizeof(s->call));
	s->call.client = *client;
	mask_client(&s->call.client, mask, v6);
	if (!h)
		return;
	s->hash[0] = h->seed[0];
	s->hash[1] = h->seed[1];
	sip_mix(s, (__u64)s->call.client.w[0] << 32 | s->call.client.w[1]);
	sip_mix(s, (__u64)s->call.client.w[2] << 32 | s->call.client.w[3]);
	bpf_loop(XLVS_SIP_TEXT, sip_character, NULL, 0);
	if (s->state != SIP_DONE)
		return;
	s->known = XLVS_CALL_READ;
	if (!bpf_map_lookup_elem(&sip_calls, s->hash))
		bpf_map_update_elem(&sip_calls, s->hash, &s->call, 0);
}

/* Read the Call-ID of a datagram to or from this client. */
static __always_inline int sip_load(ctx_t *ctx, const struct pkt *p, struct xlvs_sip *s, const struct xlvs_addr *client, __u32 mask)
{
	__u32 from = p->l4 + UDP_HEADER, size;

	s->known = XLVS_CALL_NONE;
	if (p->l3 + p->len <= from || p->frag == FRAG_LATER)
		return 0;
	size = p->l3 + p->len - from;
	if (p->frag)				/* as much as this one has */
		size = ctx->len - from;
	if (size > XLVS_SIP_TEXT)
		size = XLVS_SIP_TEXT;
	if (!size || bpf_skb_load_bytes(ctx, from, s->bytes, POSITIVE(size, XLVS_SIP_TEXT - 1)))
		return 0;
	s->size = size;
	sip_scan(s, client, mask, p->v6);
	return s->known == XLVS_CALL_READ;
}

/* If the datagram's service goes by the Call-ID, read it: the choice of its server will need it. */
__noinline int xlvs_sip_read(ctx_t *ctx, const struct pkt *p, __u32 mark)
{
	struct xlvs_sip *s = the_sip();
	struct xlvs_service *svc = NULL;
	struct xlvs_addr virt;

	if (!p || !s)
		return 0;
	s->known = XLVS_CALL_NONE;
	if (mark) {
		mark_addr(&virt, mark, p->v6);
		svc = service_find(&virt, 0, XLVS_PROTO_MARK);
	}
	if (!svc)
		svc = service_find(&p->dst, p->dport, p->proto);
	if (!svc)
		svc = service_find(&p->dst, 0, p->proto);
	return svc && svc->engine && sip_load(ctx, p, s, &p->src, svc->mask);
}

/*
 * A server may begin a call: what the client answers, from any of its ports, is to come to it.  Reads the call of its
 * datagram, and returns for how long that is remembered; 0: it says none.
 */
__noinline __u32 xlvs_sip_heard(ctx_t *ctx, const struct pkt *p, __u32 number)
{
	struct key *t = scratch_at(TEMPLATE_AT);
	struct xlvs_server *s = server_at(number);
	struct xlvs_sip *sip = the_sip();
	struct xlvs_service *svc;

	svc = s ? service_find(&s->virt, s->vport, s->proto) : NULL;
	if (!p || !svc || !t || !sip || !sip_load(ctx, p, sip, &p->dst, svc->mask))
		return 0;
	template_key(t, &p->dst, svc->mask, &s->virt, s->vport, s->proto, p->v6);
	return by_call(t) ? svc->persistent : 0;
}

/* Not within sip_out(): the stack would not hold both. */
static __always_inline void sip_begin(ctx_t *ctx, struct walk *w)
{
	__u32 seconds = xlvs_sip_heard(ctx, &w->p, w->server);
	struct key *t = scratch_at(TEMPLATE_AT);

	if (seconds && t && xlvs_template_find(t, seconds) == XLVS_NO_SERVER)
		xlvs_template_open(t, w->server | XLVS_FWD_nat << XLVS_CHOICE_FWD_SHIFT, seconds);
}

/* The service of a nat server that speaks first, or whose answer is to a datagram without a flow (ip_vs_new_conn_out). */
static __noinline int sip_out(struct walk *w)
{
	struct xlvs_service_key *k = scratch_at(0);
	struct xlvs_service *svc;
	struct xlvs_server *s;
	struct key *f;
	__u32 *number;

	if (!w || !k || w->p.proto != IPPROTO_UDP)
		return 0;
	k->addr = w->p.src;
	k->port = w->p.sport;
	k->proto = w->p.proto;
	k->pad = 0;
	number = bpf_map_lookup_elem(&nat_servers, k);
	s = number ? server_at(*number) : NULL;
	svc = s ? service_find(&s->virt, s->vport, s->proto) : NULL;
	if (!svc || !svc->engine)
		return 0;
	w->server = *number;
	w->found.flow = NULL;
	if (svc->flags & XLVS_SERVICE_OPS)
		return 1;
	f = key_of(&w->p.dst, &s->virt, w->p.dport | (__u32)s->vport << 16, IPPROTO_UDP, w->p.v6, 0);
	if (!f)
		return 0;
	f->server = w->server;
	f->state = XLVS_STATE_UDP;
	f->fwd = XLVS_FWD_nat;
	f->local = 0;
	if (xlvs_enter(f) != OPENED)
		return 1;
	account_open(w->server, s->service);
	if (!flow_at(&w->found, f, f->place))
		w->found.flow = NULL;
	return 1;
}

static __always_inline int has_engines(void)
{
	struct xlvs_config *c = the_config();

	return c && unlikely(c->engines);
}

#endif

#endif
