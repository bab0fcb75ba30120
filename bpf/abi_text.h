/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The part of abi.h for the two protocols whose text is read: SIP and FTP. */
#ifndef XLVS_ABI_TEXT_H
#define XLVS_ABI_TEXT_H

/* What the digest in a template stands for that goes by the Call-ID. */
struct xlvs_call {
	struct xlvs_addr client;	/* masked */
	__u32	len;
	__u8	id[256];
};

#define XLVS_CALL_NONE	0
#define XLVS_CALL_READ	1
#define XLVS_CALL_USED	2

/* A SIP message as it is read; the stack is full. */
struct xlvs_sip {
	__u64	hash[2];
	__u32	known;		/* XLVS_CALL_* of the packet at hand */
	__u32	size;
	__u32	state;
	__u32	matched;	/* characters of the header's name */
	__u32	at;		/* there was an @, */
	__u32	domain;		/* and something behind it */
	struct xlvs_call call;
	__u8	bytes[XLVS_SIP_TEXT];
	__u8	pad[4];
};

/* An FTP control connection: what behind the segment at *pos* is shifted by, and before it, modulo 2^32. */
struct xlvs_shift_key {
	__u32	client;
	__u32	virt;
	__be16	cport;
	__u16	vport;		/* 0: of the service that has FTP at this address */
};

struct xlvs_shift {
	__u32	pos;
	__s32	before;
	__s32	after;
};

/* A line of a control connection as it is read and rewritten; the stack is full. */
struct xlvs_ftp {
	__u8	bytes[XLVS_FTP_TEXT];
	__u8	old[160];
	__u8	fresh[160];
	__u32	start;		/* where reading begins */
	__u32	extended;	/* RFC 2428 */
	__u32	bracket;	/* an opening one is to come */
	__u32	delimiter;
	__u32	fields;		/* that are complete */
	__u32	number;		/* the one that is being read */
	__u32	high;
	__u32	first;		/* where the address begins, */
	__u32	end;		/* and where it ends */
	__u32	port;
};

#endif
