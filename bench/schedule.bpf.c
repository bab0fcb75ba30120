/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Chooses servers, and does nothing else: what bench/schedule.py measures.
 */
#include "abi.h"
#include "helpers.h"
#include "schedule.h"

#define CHOICES		64	/* in one run, so that what a run costs is not what is measured */

/* Written by schedule.py. */
struct question {
	struct xlvs_service service;
	__u32	clients;	/* who have asked so far */
	__u64	sum;		/* of the answers: none is left out */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct question);
} question SEC(".maps");

SEC("xdp") int choose(struct xdp_md *ctx)
{
	struct xlvs_addr virt = { .w = { 0, 0, htonl(0xffff), htonl(0xc0000201) } };
	struct xlvs_addr client = { .w = { 0, 0, htonl(0xffff), 0 } };
	struct question *q;
	__u32 zero = 0;
	int i;

	q = bpf_map_lookup_elem(&question, &zero);
	if (!ctx || !q)
		return XDP_ABORTED;
	for (i = 0; i < CHOICES; i++) {
		client.w[3] = htonl(0x0a000000 + q->clients++);
		q->sum += xlvs_choose(&q->service, &client, &virt, htons(1024));
	}
	return XDP_PASS;
}

SEC("license") char _license[] = "GPL";
