/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The sweep of the flow table, whole and at once, as often as the stress test likes; the timer's is one slice every 50 ms. */
#pragma clang diagnostic ignored "-Wunused-function"
#include "sweep.h"

SEC("tc") int sweep_now(struct __sk_buff *ctx)
{
	struct xlvs_head *h = the_head();
	struct visit v = {};

	if (!ctx || !h)
		return 1;
	visit_begin(&v);
	bpf_loop(h->stripes[0] + h->stripes[1], visit_stripe, &v, 0);
	bpf_for_each_map_elem(&flow_spill, visit_spilled, &v, 0);
	return 0;
}

SEC("license") char _license[] = "GPL";
