/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The director's fast path, in the driver. */
#define XLVS_XDP
#include "walk.h"

SEC("xdp") int xlvs_xdp(struct xdp_md *ctx)
{
	return walk(ctx, 0, 0);
}

SEC("license") char _license[] = "GPL";
