/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The few BPF helpers xlvs calls, typed here so that nothing but the kernel's
 * own uapi headers is needed to compile.  Numbers come from linux/bpf.h.
 */
#ifndef XLVS_HELPERS_H
#define XLVS_HELPERS_H

#include <linux/types.h>
#include <linux/bpf.h>

#define SEC(name)		__attribute__((section(name), used))
#define __uint(name, val)	int(*name)[val]
#define __type(name, val)	typeof(val) *name
#define __array(name, val)	typeof(val) *name[]

#undef __always_inline		/* linux/stddef.h makes it a mere "inline" */
#define __always_inline		inline __attribute__((always_inline))
#define __noinline		__attribute__((noinline))
#ifndef NULL
#define NULL			((void *)0)
#endif

#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

/* Keep the compiler from moving or merging accesses to shared memory. */
#define READ_ONCE(x)		(*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v)	(*(volatile typeof(x) *)&(x) = (v))
/* Hide a value's origin from the compiler: the verifier then sees the bound check we wrote. */
#define barrier_var(x)		asm volatile("" : "+r"(x))
/* *n*, which is 1 to *mask* + 1, so that the verifier sees it: from a test against 0 one of 6.1 learns nothing. */
#define POSITIVE(n, mask) ({ __u32 n_ = (n) - 1; barrier_var(n_); n_ &= (mask); barrier_var(n_); n_ + 1; })

#define htons(x)		((__be16)__builtin_bswap16(x))
#define ntohs(x)		((__u16)__builtin_bswap16(x))
#define htonl(x)		((__be32)__builtin_bswap32(x))
#define ntohl(x)		((__u32)__builtin_bswap32(x))
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "xlvs is built for little-endian kernels");

#define memcpy(d, s, n)		__builtin_memcpy(d, s, n)
#define memset(d, c, n)		__builtin_memset(d, c, n)

#define HELPER(ret, name, ...) \
	static ret (* const bpf_##name)(__VA_ARGS__) __attribute__((unused)) = (void *)(long)BPF_FUNC_##name

HELPER(void *, map_lookup_elem, void *map, const void *key);
HELPER(long, map_update_elem, void *map, const void *key, const void *value, __u64 flags);
HELPER(long, map_delete_elem, void *map, const void *key);
HELPER(long, map_push_elem, void *map, const void *value, __u64 flags);
HELPER(long, tail_call, void *ctx, void *map, __u32 index);
HELPER(__u64, ktime_get_coarse_ns, void);
HELPER(__u64, jiffies64, void);
HELPER(__u32, get_prandom_u32, void);
HELPER(__u32, get_smp_processor_id, void);
HELPER(long, loop, __u32 n, void *fn, void *ctx, __u64 flags);
HELPER(long, for_each_map_elem, void *map, void *fn, void *ctx, __u64 flags);
HELPER(long, timer_init, struct bpf_timer *timer, void *map, __u64 flags);
HELPER(long, timer_set_callback, struct bpf_timer *timer, void *fn);
HELPER(long, timer_start, struct bpf_timer *timer, __u64 ns, __u64 flags);
HELPER(__s64, csum_diff, const void *from, __u32 from_size, const void *to, __u32 to_size, __wsum seed);
HELPER(long, redirect, __u32 ifindex, __u64 flags);
HELPER(long, redirect_neigh, __u32 ifindex, struct bpf_redir_neigh *params, int plen, __u64 flags);
HELPER(long, fib_lookup, void *ctx, struct bpf_fib_lookup *params, int plen, __u32 flags);
HELPER(long, xdp_adjust_head, struct xdp_md *ctx, int delta);
HELPER(long, skb_load_bytes, const void *skb, __u32 off, void *to, __u32 len);
HELPER(long, skb_store_bytes, struct __sk_buff *skb, __u32 off, const void *from, __u32 len, __u64 flags);
HELPER(long, l4_csum_replace, struct __sk_buff *skb, __u32 off, __u64 from, __u64 to, __u64 flags);
HELPER(long, skb_pull_data, struct __sk_buff *skb, __u32 len);
HELPER(__s64, csum_update, struct __sk_buff *skb, __wsum csum);
HELPER(long, skb_change_tail, struct __sk_buff *skb, __u32 len, __u64 flags);
HELPER(long, skb_adjust_room, struct __sk_buff *skb, __s32 delta, __u32 mode, __u64 flags);

#undef HELPER

#endif
