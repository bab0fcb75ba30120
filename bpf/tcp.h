/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The TCP state machine of IPVS (net/netfilter/ipvs/ip_vs_proto_tcp.c,
 * tcp_states[]), from what a director sees: the client's packets, and with nat
 * the server's too.
 */
#ifndef XLVS_TCP_H
#define XLVS_TCP_H

#include "parse.h"

#define TCP_STATES	11

enum tcp_direction { TCP_INPUT, TCP_OUTPUT, TCP_INPUT_ONLY, TCP_SECURE };

#define sNO XLVS_STATE_NONE
#define sES XLVS_STATE_ESTABLISHED
#define sSS XLVS_STATE_SYN_SENT
#define sSR XLVS_STATE_SYN_RECV
#define sFW XLVS_STATE_FIN_WAIT
#define sTW XLVS_STATE_TIME_WAIT
#define sCL XLVS_STATE_CLOSE
#define sCW XLVS_STATE_CLOSE_WAIT
#define sLA XLVS_STATE_LAST_ACK
#define sLI XLVS_STATE_LISTEN
#define sSA XLVS_STATE_SYNACK

/* Next state by direction, event (syn fin ack rst) and state now. */
static const __u8 tcp_next[6][4][16] = {
	[TCP_INPUT] = {
/*	  sNO  sES  sSS  sSR  sFW  sTW  sCL  sCW  sLA  sLI  sSA */
	{ sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR },	/* syn */
	{ sCL, sCW, sSS, sTW, sTW, sTW, sCL, sCW, sLA, sLI, sTW },	/* fin */
	{ sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES },	/* ack */
	{ sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sSR },	/* rst */
	},
	[TCP_OUTPUT] = {
	{ sSS, sES, sSS, sSR, sSS, sSS, sSS, sSS, sSS, sLI, sSR },
	{ sTW, sFW, sSS, sTW, sFW, sTW, sCL, sTW, sLA, sLI, sTW },
	{ sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sLA, sES, sES },
	{ sCL, sCL, sSS, sCL, sCL, sTW, sCL, sCL, sCL, sCL, sCL },
	},
	[TCP_INPUT_ONLY] = {
	{ sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSR },
	{ sCL, sFW, sSS, sTW, sFW, sTW, sCL, sCW, sLA, sLI, sTW },
	{ sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES },
	{ sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sCL },
	},
	/* With secure_tcp (tcp_states_dos[]). */
	[TCP_SECURE + TCP_INPUT] = {
	{ sSR, sES, sES, sSR, sSR, sSR, sSR, sSR, sSR, sSR, sSA },
	{ sCL, sCW, sSS, sTW, sTW, sTW, sCL, sCW, sLA, sLI, sSA },
	{ sES, sES, sSS, sSR, sFW, sTW, sCL, sCW, sCL, sLI, sSA },
	{ sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sCL },
	},
	[TCP_SECURE + TCP_OUTPUT] = {
	{ sSS, sES, sSS, sSA, sSS, sSS, sSS, sSS, sSS, sLI, sSA },
	{ sTW, sFW, sSS, sTW, sFW, sTW, sCL, sTW, sLA, sLI, sTW },
	{ sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sLA, sES, sES },
	{ sCL, sCL, sSS, sCL, sCL, sTW, sCL, sCL, sCL, sCL, sCL },
	},
	[TCP_SECURE + TCP_INPUT_ONLY] = {
	{ sSA, sES, sES, sSR, sSA, sSA, sSA, sSA, sSA, sSA, sSA },
	{ sCL, sFW, sSS, sTW, sFW, sTW, sCL, sCW, sLA, sLI, sTW },
	{ sES, sES, sSS, sES, sFW, sTW, sCL, sCW, sCL, sLI, sES },
	{ sCL, sCL, sCL, sSR, sCL, sCL, sCL, sCL, sLA, sLI, sCL },
	},
};

static __always_inline int tcp_event(__u8 flags)
{
	if (flags & TCP_RST)
		return 3;
	if (flags & TCP_SYN)
		return 0;
	if (flags & TCP_FIN)
		return 1;
	if (flags & TCP_ACK)
		return 2;
	return -1;
}

/* Only a SYN opens a flow (tcp_conn_schedule with sloppy_tcp=0). */
static __always_inline int tcp_opens(__u8 flags)
{
	return (flags & (TCP_SYN | TCP_RST)) == TCP_SYN;
}

static __always_inline __u8 tcp_step(__u8 state, __u8 flags, enum tcp_direction dir, int secure)
{
	int event = tcp_event(flags);

	/* IPVS closes the flow on a segment without flags; nobody but a scanner sends one, so it changes nothing here. */
	if (event < 0 || state >= TCP_STATES)
		return state;
	return tcp_next[(dir & 3) % 3 + (secure ? TCP_SECURE : 0)][event & 3][state & 15];
}

#endif
