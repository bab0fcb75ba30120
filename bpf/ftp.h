/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FTP behind nat (RFC 959, RFC 2428; ip_vs_ftp.c): what is said on a control
 * connection tells of a data connection to come.  That is entered into the flow
 * table at once, in state LISTEN; of a passive one the client's port is not
 * known yet and 0.
 *
 * The answer 227 names the server's address: it gets the virtual one, and when
 * that is written longer or shorter, sequence numbers of what follows are
 * shifted, and acknowledgements back (RFC 2018 for SACK).  227 with IPv4 is the
 * only text that changes.
 *
 * XDP leaves control connections to TC; data connections are flows like others.
 */
#ifndef XLVS_FTP_H
#define XLVS_FTP_H

#include "find.h"

#define PORT_FTP	21	/* of control connections; IPVS looks at no others, whatever the service's port is */

/* The packet is of a control connection. */
static __always_inline int is_ftp_control(const struct walk *w, const struct xlvs_server *s)
{
	return unlikely(s->flags & XLVS_SERVER_FTP) && w->p.proto == IPPROTO_TCP && w->found.flow &&
	       WORD_FWD(w->found.word) == XLVS_FWD_nat && READ_ONCE(w->found.flow->vport) == htons(PORT_FTP);
}

#ifndef XLVS_XDP

#define FTP_REGION	120	/* of a packet, from the address on: what is rewritten at most */
#define TCP_OPT_NOP	1
#define TCP_OPT_SACK	5
#define TCP_HEADER	20
#define TCP_OPTIONS	40

static __always_inline struct xlvs_ftp *the_ftp(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&ftp_text, &zero);
}

static __always_inline int is_digit(__u8 c)
{
	return c >= '0' && c <= '9';
}

/* One character of ``h1,h2,h3,h4,p1,p2``, behind any text.  Non-zero: that is all. */
static __always_inline long ftp_list(struct xlvs_ftp *f, __u32 i, __u8 c)
{
	if (is_digit(c)) {
		if (!f->first)
			f->first = i;
		f->number = f->number * 10 + c - '0';
		return f->number > 255;
	}
	if (!f->first)
		return c < ' ';
	if (c != ',' || f->fields >= 5) {
		if (f->fields == 5 && c)
			f->port = f->high << 8 | f->number;
		return 1;
	}
	if (++f->fields == 4)
		f->end = i;
	f->high = f->number;
	f->number = 0;
	return 0;
}

/* One character of ``|proto|address|port|``, in parentheses in an answer.  Non-zero: that is all. */
static __always_inline long ftp_extended(struct xlvs_ftp *f, __u8 c)
{
	if (c < ' ')
		return 1;
	if (f->bracket) {
		f->bracket = c != '(';
	} else if (!f->delimiter) {
		f->delimiter = c;
		return is_digit(c);
	} else if (c == f->delimiter) {
		if (++f->fields < 3)
			return 0;
		f->port = f->number;
		return 1;
	} else if (f->fields == 2) {
		f->number = f->number * 10 + c - '0';
		return !is_digit(c) || f->number > 65535;
	}
	return 0;
}

static long ftp_character(__u32 i, void *unused)
{
	struct xlvs_ftp *f = the_ftp();
	__u8 c;

	(void)unused;
	if (!f)
		return 1;
	i += f->start;
	if (i >= XLVS_FTP_TEXT)
		return 1;
	c = f->bytes[i & (XLVS_FTP_TEXT - 1)];
	return f->extended ? ftp_extended(f, c) : ftp_list(f, i, c);
}

/* What the line says, by its first word; 0: nothing of a data connection. */
static __always_inline int ftp_begin(struct xlvs_ftp *f, int v6, int reply)
{
	__u32 word = *(__u32 *)f->bytes;

	memset(&f->start, 0, sizeof(*f) - __builtin_offsetof(struct xlvs_ftp, start));
	f->start = 4;
	if (reply) {
		f->extended = word == 0x20393232;		/* "229 " */
		f->bracket = 1;
		return f->extended || (word == 0x20373232 && !v6);
	}
	word |= 0x20202020;
	f->start = 5;
	f->extended = word == 0x74727065;			/* "eprt" */
	return f->bytes[4] == ' ' && (f->extended || (word == 0x74726f70 && !v6));
}

static __always_inline __u32 put_octet(__u8 *text, __u32 n, __u8 octet)
{
	if (octet >= 100)
		text[n++ & 15] = '0' + octet / 100;
	if (octet >= 10)
		text[n++ & 15] = '0' + octet / 10 % 10;
	text[n++ & 15] = '0' + octet % 10;
	return n;
}

/* The address as 227 writes it, into the region's place of it; how many characters that are. */
static __always_inline __u32 put_address(__u8 *text, __be32 address)
{
	__u32 n = 0, i;

#pragma unroll
	for (i = 0; i < 4; i++) {
		if (i)
			text[n++ & 15] = ',';
		n = put_octet(text, n, address >> 8 * i);
	}
	return n;
}

static __always_inline void shift_key(struct xlvs_shift_key *k, const struct pkt *p, const struct xlvs_addr *virt, int reply)
{
	k->client = reply ? p->dst.w[3] : p->src.w[3];
	k->virt = virt->w[3];
	k->cport = reply ? p->dport : p->sport;
	k->vport = 0;
}

/* Note that what comes behind the segment at *seq* is shifted by *by* more; not again when it is sent again. */
static __always_inline void shift_more(const struct xlvs_shift_key *k, __u32 seq, __s32 by)
{
	struct xlvs_shift *s = bpf_map_lookup_elem(&ftp_shifts, k), first = { .pos = seq, .after = by };

	if (!s) {
		bpf_map_update_elem(&ftp_shifts, k, &first, 0);
	} else if (s->before == s->after || (__s32)(s->pos - seq) < 0) {
		s->before = s->after;
		s->pos = seq;
		s->after += by;
	}
}

/* Replace 32 bits of the TCP header, *at* so many bytes in it, and fix its checksum. */
static __always_inline void put_number(ctx_t *ctx, const struct pkt *p, __u32 at, __be32 from, __be32 to)
{
	if (from == to || bpf_skb_store_bytes(ctx, p->l4 + at, &to, 4, 0))
		return;
	if (at & 1) {
		from = (from & 0xff00ff) << 8 | (from >> 8 & 0xff00ff);
		to = (to & 0xff00ff) << 8 | (to >> 8 & 0xff00ff);
	}
	bpf_l4_csum_replace(ctx, l4_check_off(p), from, to, 4);
}

static __always_inline __s32 shift_of_ack(const struct xlvs_shift *s, __u32 ack)
{
	return (__s32)(s->pos - (ack - s->before)) < 0 ? s->after : s->before;
}

/* One option of the header that is in f->bytes; *start* is where the next one begins. */
static long ftp_option(__u32 i, void *unused)
{
	struct xlvs_ftp *f = the_ftp();
	__u8 kind, len;

	(void)unused;
	(void)i;
	if (!f || f->start + 1 >= f->end)
		return 1;
	kind = f->bytes[f->start & 63];
	len = kind == TCP_OPT_NOP ? 1 : f->bytes[(f->start + 1) & 63];
	if (!kind || !len)
		return 1;
	if (kind == TCP_OPT_SACK && f->start + len <= f->end) {
		f->first = f->start + 2;
		f->fields = (len - 2) / 4;
		return 1;
	}
	f->start += len;
	return 0;
}

/* The client has seen the server's numbers shifted: shift what it acknowledges back. */
static __always_inline void unshift_sack(ctx_t *ctx, const struct pkt *p, const struct xlvs_shift *s, struct xlvs_ftp *f)
{
	__u32 len = p->l4_len - TCP_HEADER, i;

	if (p->l4_len <= TCP_HEADER || len > TCP_OPTIONS)
		return;
	memset(&f->start, 0, sizeof(*f) - __builtin_offsetof(struct xlvs_ftp, start));
	f->end = len;
	if (bpf_skb_load_bytes(ctx, p->l4 + TCP_HEADER, f->bytes, POSITIVE(len, 63)))
		return;
	bpf_loop(TCP_OPTIONS, ftp_option, NULL, 0);
	for (i = 0; i < 8 && i < f->fields; i++) {
		__u32 at = TCP_HEADER + (f->first & 63) + 4 * i;
		__be32 edge;

		if (bpf_skb_load_bytes(ctx, p->l4 + at, &edge, 4))
			return;
		put_number(ctx, p, at, edge, htonl(ntohl(edge) - shift_of_ack(s, ntohl(edge))));
	}
}

/* Shift the segment's numbers by what answers have grown since the connection began. */
__noinline int xlvs_ftp_shift(ctx_t *ctx, const struct pkt *p, const struct xlvs_addr *virt, __u32 reply)
{
	struct xlvs_ftp *f = the_ftp();
	struct xlvs_shift_key k;
	struct tcphdr *tcp;
	struct xlvs_shift *s;
	__u32 number;

	if (!p || !virt || !f)
		return 0;
	shift_key(&k, p, virt, reply);
	if (p->tcp & TCP_SYN && !reply) {
		bpf_map_delete_elem(&ftp_shifts, &k);
		return 0;
	}
	s = bpf_map_lookup_elem(&ftp_shifts, &k);
	tcp = at(ctx, p->l4, sizeof(*tcp));
	if (!s || !tcp || !(p->tcp & TCP_ACK))
		return 0;
	if (reply) {
		number = ntohl(tcp->seq);
		put_number(ctx, p, __builtin_offsetof(struct tcphdr, seq), htonl(number),
			   htonl(number + ((__s32)(s->pos - number) < 0 ? s->after : s->before)));
		return 1;
	}
	number = ntohl(tcp->ack_seq);
	put_number(ctx, p, __builtin_offsetof(struct tcphdr, ack_seq), htonl(number), htonl(number - shift_of_ack(s, number)));
	unshift_sack(ctx, p, s, f);
	return 1;
}

/* Fix the headers of a packet that grew by *by* bytes. */
static __always_inline void grown(ctx_t *ctx, struct pkt *p, __s32 by)
{
	struct iphdr *ip = at(ctx, p->l3, sizeof(*ip));
	__u32 len = p->len - (p->l4 - p->l3);

	if (!ip)
		return;
	ip->check = csum_replace(ip->check, htons(p->len), htons(p->len + by));
	ip->tot_len = htons(p->len + by);
	bpf_l4_csum_replace(ctx, l4_check_off(p), htons(len), htons(len + by), BPF_F_PSEUDO_HDR | 2);
	p->len += by;
}

/* Put the virtual address where f->first to f->end is the server's. */
static __always_inline void ftp_rename(ctx_t *ctx, struct pkt *p, const struct xlvs_addr *virt, struct xlvs_ftp *f)
{
	__u32 text = p->l4 + p->l4_len, size = p->len - (text - p->l3), base = f->first & ~1u & (XLVS_FTP_TEXT - 1);
	__u32 end = f->end & (XLVS_FTP_TEXT - 1), region = size - base, rest = size - end, odd = f->first & 1, n, seq;
	struct xlvs_shift_key k;
	struct tcphdr *tcp;
	__s32 by;

	if (size <= end || end <= base || region > FTP_REGION || ctx->len != p->l3 + p->len)
		return;
	memset(f->old, 0, sizeof(f->old));
	memset(f->fresh, 0, sizeof(f->fresh));
	if (bpf_skb_load_bytes(ctx, text + base, f->old, POSITIVE(region, 127)))
		return;
	f->fresh[0] = f->old[0];
	n = put_address(f->fresh + odd, virt->w[3]) + odd;
	if (bpf_skb_load_bytes(ctx, text + end, f->fresh + (n & 31), POSITIVE(rest, 127)))
		return;
	by = (n & 31) - (end - base);
	tcp = at(ctx, p->l4, sizeof(*tcp));
	if (!tcp)
		return;
	seq = ntohl(tcp->seq);
	if (by > 0 && bpf_skb_change_tail(ctx, ctx->len + by, 0))
		return;
	if (bpf_skb_store_bytes(ctx, text + base, f->fresh, POSITIVE(by > 0 ? region + by : region, 127), 0))
		return;
	bpf_l4_csum_replace(ctx, l4_check_off(p), 0, bpf_csum_diff(f->old, sizeof(f->old), f->fresh, sizeof(f->fresh), 0), 0);
	if (by < 0 && bpf_skb_change_tail(ctx, ctx->len + by, 0))
		return;
	if (!by)
		return;
	grown(ctx, p, by);
	shift_key(&k, p, virt, 1);
	shift_more(&k, seq, by);
}

/* Read what a segment of the control connection says.  The data connection's port, 0: it tells of none. */
__noinline int xlvs_ftp_read(ctx_t *ctx, struct pkt *p, const struct xlvs_addr *virt, __u32 reply)
{
	struct xlvs_ftp *f = the_ftp();
	__u32 text, size;

	if (!p || !virt || !f)
		return 0;
	text = p->l4 + p->l4_len;
	size = p->len - (text - p->l3);
	if (p->l3 + p->len <= text + 8 || is_gso(ctx) || p->frag)
		return 0;
	memset(f->bytes, 0, sizeof(f->bytes));
	if (size > XLVS_FTP_TEXT - 1)
		size = XLVS_FTP_TEXT - 1;
	if (bpf_skb_load_bytes(ctx, text, f->bytes, POSITIVE(size, 127)) || !ftp_begin(f, p->v6, reply))
		return 0;
	bpf_loop(XLVS_FTP_TEXT, ftp_character, NULL, 0);
	if (f->port && reply && !f->extended)
		ftp_rename(ctx, p, virt, f);
	return f->port;
}

/* Enter the data connection to come: of *port* of the server, or with *active* of the client. */
__noinline int xlvs_ftp_expect(const struct xlvs_addr *client, const struct xlvs_addr *virt, __u32 ports, __u32 server, __u32 v6)
{
	struct key *k;

	if (!client || !virt)
		return 0;
	k = key_of(client, virt, ports, IPPROTO_TCP, v6, 0);
	if (!k)
		return 0;
	k->server = server;
	k->state = XLVS_STATE_LISTEN;
	k->fwd = XLVS_FWD_nat;
	k->local = 0;
	return xlvs_enter(k);
}

/* A packet of a control connection, before it is forwarded. */
static __always_inline void ftp_control(ctx_t *ctx, struct walk *w, const struct xlvs_server *s, int reply)
{
	const struct xlvs_addr *virt = reply ? virtual_end(w, s) : &w->p.dst;
	__u32 port;

	if (!virt)
		return;
	port = xlvs_ftp_read(ctx, &w->p, virt, reply);
	if (port)
		xlvs_ftp_expect(reply ? &w->p.dst : &w->p.src, virt,
				reply ? (__u32)htons(port) << 16 : (__u32)htons(PORT_FTP - 1) << 16 | htons(port), w->server, w->p.v6);
	if (!w->p.v6)
		xlvs_ftp_shift(ctx, &w->p, virt, reply);
}

#endif

#endif
