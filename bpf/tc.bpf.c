/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TC programs: the director at the ingress of every interface, at the egress
 * of the loopback and of the marker, and of every interface while the director is a
 * real server behind nat; the decapsulation of real servers, and the one that
 * arms the expiry timer.
 */
#include "walk.h"
#include "return.h"
#include "marker.h"
#include "decap.h"
#include "import.h"
#include "sweep.h"

SEC("tc") int xlvs_in(struct __sk_buff *ctx)
{
	return walk(ctx, 0, 0);
}

/* Packets of clients on the director itself; they leave through the loopback because the virtual address is local. */
SEC("tc") int xlvs_lo(struct __sk_buff *ctx)
{
	return walk(ctx, 1, 0);
}

/* At the egress of the marker: packets whose mark is a service's, or that are for one and have none. */
SEC("tc") int xlvs_mark(struct __sk_buff *ctx)
{
	return unmark(ctx) ? walk(ctx, 0, 1) : PASS;
}

SEC("tc") int xlvs_out(struct __sk_buff *ctx)
{
	return go_out(ctx);
}

SEC("tc") int xlvs_decap(struct __sk_buff *ctx)
{
	return decap(ctx);
}

/* Run once by the loader; user space sees 0, or a negative errno as unsigned. */
SEC("tc") int xlvs_sweep(struct __sk_buff *ctx)
{
	return ctx ? sweep_arm() : 0;
}

/* Take over what `imports` holds. */
SEC("tc") int xlvs_import(struct __sk_buff *ctx)
{
	return ctx ? import_all() : 0;
}

/* Note what the kernel's two clocks say, and nothing else. */
SEC("tc") int xlvs_clock(struct __sk_buff *ctx)
{
	return ctx ? sweep_clock() : 0;
}

SEC("license") char _license[] = "GPL";
