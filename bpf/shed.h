/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flows that the sweep ends though they are not idle for too long: the defence drop_entry, and servers that are no more. */
#ifndef XLVS_SHED_H
#define XLVS_SHED_H

#include "flow.h"

/*
 * drop_entry (ip_vs_random_dropentry): in a second one in 32 of the half-open flows ends, and of those that had few
 * packets and none for a minute, fewer the more packets they had.  A flow is visited every two seconds, and knows its
 * bytes alone, of which SHED_BYTES are taken for a packet.
 */
#define SHED_SHARE		16
#define SHED_AGE_S		60
#define SHED_BYTES		128
#define SHED_PACKETS		8

static __always_inline int is_shed(const struct xlvs_flow *flow, __u8 state, __u32 now)
{
	struct xlvs_config *c = the_config();
	__u32 packets;

	if (state == XLVS_STATE_SYN_RECV || state == XLVS_STATE_SYNACK || state == XLVS_STATE_SCTP_INIT1 ||
	    state == XLVS_STATE_SCTP_INIT)
		return !(bpf_get_prandom_u32() % SHED_SHARE);
	if (state != XLVS_STATE_ESTABLISHED && state != XLVS_STATE_UDP && state != XLVS_STATE_SCTP_ESTABLISHED)
		return 0;
	if (!c || flow_age(flow, now) < SHED_AGE_S * c->hz)
		return 0;
	packets = READ_ONCE(flow->in_bytes) / SHED_BYTES + 1;
	return packets <= SHED_PACKETS && !(bpf_get_prandom_u32() % (SHED_SHARE * packets));
}

#define SYSCTLS_THAT_END_FLOWS	(XLVS_SYSCTL_DROP_ENTRY | XLVS_SYSCTL_EXPIRE_NODEST)

/* A flow that is not idle for too long and ends all the same, as one of *sysctls* says. */
static __noinline int is_unwanted(const struct xlvs_flow *flow, __u64 word, __u32 now, __u32 sysctls)
{
	struct xlvs_server *s;

	if (!flow || is_template(WORD_STATE(word)))
		return 0;
	if (sysctls & XLVS_SYSCTL_DROP_ENTRY && is_shed(flow, WORD_STATE(word), now)) {
		count(XLVS_COUNT_flow_shed);
		return 1;
	}
	if (!(sysctls & XLVS_SYSCTL_EXPIRE_NODEST))
		return 0;
	s = server_at(WORD_SERVER(word));
	return s && !server_lives(s);
}

#endif
