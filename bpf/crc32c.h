/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CRC32c, and how SCTP's checksum changes with a port (TC only; RFC 9260 §6.8, appendix A). */
#ifndef XLVS_CRC32C_H
#define XLVS_CRC32C_H

#include "parse.h"

/*
 * CRC32c is linear: what changes in a packet changes the checksum by what those
 * bits alone have for one, and zeros behind them multiply that by a power of x
 * modulo the polynomial.  So the payload need not be read.  Everything is
 * reflected: the highest bit is the factor of x^0.
 */
#define CRC32C_POLYNOMIAL	0x82f63b78u

/* x^8, and each the square of the one before: a byte of zeros, two, four ... 65536. */
static const __u32 crc32c_zeros[17] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7, 0x88e56f72,
	0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc, 0xfe7740e6,
};

static __always_inline __u32 crc32c_multiply(__u32 a, __u32 b)
{
	__u32 product = 0;
	int i;

	for (i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = b >> 1 ^ (CRC32C_POLYNOMIAL & -(b & 1));
	}
	return product;
}

/* The CRC of *word* with *zeros* bytes of zeros behind its first bit; global, so that the loops are verified once. */
__noinline __u32 xlvs_crc32c_shift(__u32 word, __u32 zeros)
{
	int i;

	for (i = 0; i < 17; i++) {
		__u32 by = crc32c_zeros[i], bit = zeros >> i & 1;

		/* Times x^0 where the bit is not set, without a branch that doubles what there is to verify. */
		by = (by & -bit) | (0x80000000u & (bit - 1));
		word = crc32c_multiply(word, by);
	}
	return word;
}

/*
 * Give an SCTP packet another address and port; false: it is shorter than it was a moment ago, or a fragment, whose
 * checksum covers bytes that are not here.  A checksum of 0 is one that the device or the stack has yet to fill in
 * (CHECKSUM_PARTIAL); it will be that of the ports it finds.
 */
static __noinline int rewrite_sctp(ctx_t *ctx, const struct pkt *p, int source, const struct xlvs_addr *addr, __be16 port)
{
	const struct xlvs_addr *old_addr;
	__u32 *header, old[3], new[3];

	if (!p || !addr)
		return 0;
	header = at(ctx, p->l4, SCTP_HEADER);
	if (!header)
		return 0;
	old[0] = header[0];
	old[1] = new[1] = header[1];
	old[2] = new[2] = header[2];
	new[0] = source ? (old[0] & 0xffff0000) | port : (old[0] & 0xffff) | (__u32)port << 16;
	if (new[0] != old[0] && old[2]) {
		if (p->frag)
			return 0;
		new[2] ^= xlvs_crc32c_shift(old[0] ^ new[0], p->len - (p->l4 - p->l3));
	}
	header = at(ctx, p->l4, SCTP_HEADER);
	if (!header)
		return 0;
	header[0] = new[0];
	header[2] = new[2];
	/* A sum that the NIC took of the whole packet changes with it; IPv4's own header checksum makes up for the address. */
	bpf_csum_update(ctx, bpf_csum_diff(old, sizeof(old), new, sizeof(new), 0));
	if (p->v6) {
		old_addr = source ? &p->src : &p->dst;
		bpf_csum_update(ctx, bpf_csum_diff(old_addr, sizeof(*old_addr), addr, sizeof(*addr), 0));
	}
	return 1;
}

#endif
