/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The SCTP state machine of IPVS (net/netfilter/ipvs/ip_vs_proto_sctp.c,
 * sctp_states[]), from what a director sees: the client's packets, and with nat
 * the server's too.  A packet is known by its first chunk (RFC 9260 §3.2).  TC
 * only: XDP leaves SCTP to it.
 */
#ifndef XLVS_SCTP_H
#define XLVS_SCTP_H

#include "parse.h"

enum sctp_direction { SCTP_INPUT, SCTP_OUTPUT, SCTP_INPUT_ONLY };

/* States by their place in class 2 of tbl/state.h. */
#define SCTP_STATE(place)	(XLVS_STATE_SCTP_NONE + (place))
#define SCTP_PLACE(state)	((state) & 15)
enum { cNO, cI1, cIN, cCS, cCR, cCW, cCO,
       cCE, cES, cSS, cSR, cSA, cRJ, cCL, SCTP_STATES };
_Static_assert(SCTP_STATE(cCL) == XLVS_STATE_SCTP_CLOSED, "the table has the places of tbl/state.h");

/* Next state by direction, event (enum sctp_event) and state now. */
static const __u8 sctp_next[3][SCTP_EVENTS][16] = {
	[SCTP_INPUT] = {
/*	  cNO  cI1  cIN  cCS  cCR  cCW  cCO  cCE  cES  cSS  cSR  cSA  cRJ  cCL */
	{ cES, cI1, cIN, cCS, cCR, cCW, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* data */
	{ cI1, cIN, cIN, cCS, cCR, cCW, cCO, cCE, cES, cSS, cSR, cSA, cIN, cIN },	/* init */
	{ cCW, cCW, cCW, cCS, cCR, cCO, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* init ack */
	{ cCR, cIN, cIN, cCR, cCR, cCW, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* cookie echo */
	{ cES, cI1, cIN, cCS, cCR, cCW, cCO, cES, cES, cSS, cSR, cSA, cRJ, cCL },	/* cookie ack */
	{ cSR, cI1, cIN, cCS, cCR, cCW, cCO, cCE, cSR, cSS, cSR, cSA, cRJ, cCL },	/* shutdown */
	{ cCL, cIN, cIN, cCS, cCR, cCW, cCO, cCE, cES, cCL, cSR, cCL, cRJ, cCL },	/* shutdown ack */
	{ cCL, cCL, cCL, cCS, cCR, cCW, cCO, cCE, cES, cSS, cSR, cCL, cRJ, cCL },	/* shutdown complete */
	{ cCL, cI1, cIN, cCS, cCR, cCW, cCO, cCL, cES, cSS, cSR, cSA, cRJ, cCL },	/* error */
	{ cCL, cCL, cCL, cCL, cCL, cRJ, cCL, cCL, cCL, cCL, cCL, cCL, cCL, cCL },	/* abort */
	},
	[SCTP_OUTPUT] = {
/*	  cNO  cI1  cIN  cCS  cCR  cCW  cCO  cCE  cES  cSS  cSR  cSA  cRJ  cCL */
	{ cES, cI1, cIN, cCS, cCR, cCW, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* data */
	{ cCW, cCW, cCW, cCW, cCW, cCW, cCW, cCW, cES, cCW, cCW, cCW, cCW, cCW },	/* init */
	{ cCS, cCS, cCS, cCS, cCR, cCW, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* init ack */
	{ cCE, cCE, cCE, cCE, cCE, cCE, cCE, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* cookie echo */
	{ cES, cES, cES, cES, cES, cES, cES, cES, cES, cSS, cSR, cSA, cRJ, cCL },	/* cookie ack */
	{ cSS, cSS, cSS, cSS, cSS, cSS, cSS, cSS, cSS, cSS, cSR, cSA, cRJ, cCL },	/* shutdown */
	{ cSA, cSA, cSA, cSA, cSA, cCW, cCO, cCE, cES, cSA, cSA, cSA, cRJ, cCL },	/* shutdown ack */
	{ cCL, cI1, cIN, cCS, cCR, cCW, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* shutdown complete */
	{ cCL, cCL, cCL, cCL, cCL, cCW, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* error */
	{ cCL, cRJ, cCL, cCL, cCL, cCL, cCL, cCL, cCL, cCL, cCL, cCL, cCL, cCL },	/* abort */
	},
	[SCTP_INPUT_ONLY] = {
/*	  cNO  cI1  cIN  cCS  cCR  cCW  cCO  cCE  cES  cSS  cSR  cSA  cRJ  cCL */
	{ cES, cI1, cIN, cCS, cCR, cES, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* data */
	{ cI1, cIN, cIN, cIN, cIN, cIN, cCO, cCE, cES, cSS, cSR, cSA, cIN, cIN },	/* init */
	{ cCE, cCE, cCE, cCE, cCE, cCE, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* init ack */
	{ cES, cES, cES, cES, cES, cES, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* cookie echo */
	{ cES, cI1, cIN, cES, cES, cCW, cES, cES, cES, cSS, cSR, cSA, cRJ, cCL },	/* cookie ack */
	{ cSR, cI1, cIN, cCS, cCR, cCW, cCO, cCE, cSR, cSS, cSR, cSA, cRJ, cCL },	/* shutdown */
	{ cCL, cIN, cIN, cCS, cCR, cCW, cCO, cCE, cCL, cCL, cSR, cCL, cRJ, cCL },	/* shutdown ack */
	{ cCL, cCL, cCL, cCL, cCL, cCW, cCO, cCE, cES, cSS, cCL, cCL, cRJ, cCL },	/* shutdown complete */
	{ cCL, cI1, cIN, cCS, cCR, cCW, cCO, cCE, cES, cSS, cSR, cSA, cRJ, cCL },	/* error */
	{ cCL, cCL, cCL, cCL, cCL, cRJ, cCL, cCL, cCL, cCL, cCL, cCL, cCL, cCL },	/* abort */
	},
};

/* Only an INIT opens a flow, with sloppy_sctp anything but an ABORT (sctp_conn_schedule). */
static __always_inline int sctp_opens(const struct pkt *p, int sloppy)
{
	return p->sctp == SCTP_INIT || (sloppy && p->sctp < SCTP_ABORT);
}

static __always_inline __u8 sctp_step(__u8 state, __u8 event, enum sctp_direction dir)
{
	if (event >= SCTP_EVENTS || dir > SCTP_INPUT_ONLY)
		return state;
	return SCTP_STATE(sctp_next[dir][event][SCTP_PLACE(state)]);
}

#endif
