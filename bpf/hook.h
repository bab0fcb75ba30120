/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the two hooks, so that the walk need not.
 *
 * XDP takes the fast path only: whatever it cannot finish it leaves untouched
 * (PASS), and the TC program of the same interface sees the packet next.
 */
#ifndef XLVS_HOOK_H
#define XLVS_HOOK_H

#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include "helpers.h"
#include "maps.h"

#ifdef XLVS_XDP
typedef struct xdp_md ctx_t;
#else
typedef struct __sk_buff ctx_t;
#endif

/*
 * The context holds 32-bit fields that the verifier makes pointers of.  Were
 * the compiler to see 32 bits it would move them by 32-bit instructions, and
 * what comes out is no pointer any more.
 */
static __always_inline void *data_begin(ctx_t *ctx)
{
	void *p;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p) : "r"(ctx), "i"(__builtin_offsetof(ctx_t, data)));
	return p;
}

static __always_inline void *data_end(ctx_t *ctx)
{
	void *p;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(p) : "r"(ctx), "i"(__builtin_offsetof(ctx_t, data_end)));
	return p;
}

#ifdef XLVS_XDP

enum verdict { PASS = XDP_PASS, DROP = XDP_DROP };
#define COUNT_FORWARDED	XLVS_COUNT_xdp_forwarded

static __always_inline __u32 hook_ifindex(ctx_t *ctx)
{
	return ctx->ingress_ifindex;
}

static __always_inline __u64 hook_len(ctx_t *ctx)
{
	void *end = data_end(ctx);

	/* The program takes linear frames only.  In assembly, as the compiler would subtract 32 bits of each pointer. */
	asm volatile("%0 -= %1" : "+r"(end) : "r"(data_begin(ctx)));
	return (__u64)end;
}

#else /* TC */

enum verdict { PASS = TC_ACT_OK, DROP = TC_ACT_SHOT, GONE = TC_ACT_STOLEN };
#define COUNT_FORWARDED	XLVS_COUNT_tc_forwarded

static __always_inline __u32 hook_ifindex(ctx_t *ctx)
{
	return ctx->ifindex;
}

static __always_inline __u64 hook_len(ctx_t *ctx)
{
	return ctx->len;
}

#endif

/* The packet's bytes at *off*, *len* of them; NULL: not there.  For headers: *off* is below 256. */
static __always_inline void *at(ctx_t *ctx, __u32 off, __u32 len)
{
	void *p = data_begin(ctx) + (off & 255);

	if (p + len > data_end(ctx))
		p = NULL;
	barrier_var(p);		/* else the caller's test for NULL is compiled to a second look at data_end, which proves nothing */
	return p;
}

static __always_inline struct xlvs_interface *interface_of(__u32 ifindex)
{
	__u32 slot = ifindex & (XLVS_MAX_INTERFACES - 1);
	struct xlvs_interface *i = bpf_map_lookup_elem(&interfaces, &slot);

	return i && i->ifindex == ifindex ? i : NULL;
}

static __always_inline void count(__u32 counter)
{
	__u64 *n = bpf_map_lookup_elem(&counters, &counter);

	if (n)
		(*n)++;
}

static __always_inline int drop(__u32 reason)
{
	__u64 *n = bpf_map_lookup_elem(&drops, &reason);

	if (n)
		(*n)++;
	return DROP;
}

#endif
