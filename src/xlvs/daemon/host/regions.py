"""The address space, cut where the kernel's answer to "which way?" can change.

Routing tables and rules look at a destination only through the prefixes that
contain it, and of those the longest tells all others.  So the kernel treats
all destinations alike whose longest prefix is the same, out of all prefixes in
all tables and rules, in whatever order it goes through them: one region each.

The source address is a route's, except for IPv6, where it is chosen for the
destination (RFC 6724 §5); `source_prefixes` are the further cuts that takes.

Prefixes are (first address as a number, length), IPv4 mapped (::ffff:0:0/96).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from xlvs.model import Address

Prefix = tuple[int, int]

BITS = 128
_FIXED: tuple[Prefix, ...] = (
    (0, 0),
    (0xFFFF << 32, 96),  # IPv4, which is nowhere in IPv6's tables
    # Broadcast, multicast and "this network" are no destinations like others: net/ipv4/route.c, __mkroute_output.
    (0xFFFF << 32, 104), (0xFFFF << 32, 128), (0xFFFFE0 << 24, 100), (0xFFFFFFFFFFFF, 128),
    (0, 96), (0, 128), (1, 128),  # kinds of addresses: include/net/ipv6.h, __ipv6_addr_type
    (0xFC << 120, 7), (0xFE8 << 116, 10), (0xFEC << 116, 10), (0xFF << 120, 8),
    (0x20010010 << 96, 28),  # ORCHID, a rule of its own in ipv6_get_saddr_eval
)  # fmt: skip


class Regions:
    """Which region an address is in, by number; *single* tells for each whether it can have one address only."""

    def __init__(self, prefixes: Iterable[Prefix]) -> None:
        ordered = sorted({*_FIXED, *prefixes})
        self.single = [length == BITS for _, length in ordered]
        starts, regions = _intervals(ordered)
        self._starts = _array(b"".join(start.to_bytes(16) for start in starts))
        self._regions = np.array(regions)

    def __len__(self) -> int:
        return len(self.single)

    def of(self, addresses: Sequence[Address]) -> NDArray[np.int64]:
        """Return the region of each address."""
        found = np.searchsorted(self._starts, _array(b"".join(addresses)), side="right") - 1
        return self._regions[found]


def _intervals(ordered: Sequence[Prefix]) -> tuple[list[int], list[int]]:
    """Return where the longest prefix changes, from the lowest address on, and which of *ordered* it is from there."""
    starts: list[int] = []
    longest: list[int] = []

    def begin(start: int, number: int) -> None:
        if starts and starts[-1] == start:
            longest[-1] = number
        else:
            starts.append(start)
            longest.append(number)

    around: list[tuple[int, int]] = []  # the prefixes we are in, shortest first: where each ends, its number
    for number, (start, length) in enumerate(ordered):
        while around and around[-1][0] <= start:
            end, _ = around.pop()
            begin(end, around[-1][1])
        begin(start, number)
        around.append((start + (1 << BITS - length), number))
    while len(around) > 1:
        end, _ = around.pop()
        if end < 1 << BITS:
            begin(end, around[-1][1])
    return starts, longest


def source_prefixes(own: Iterable[tuple[Address, int]]) -> set[Prefix]:
    """Return the cuts that RFC 6724 §5 rule 8 makes for a host with these IPv6 addresses (with prefix lengths).

    It prefers the source that shares the longer prefix with the destination,
    but counts no more bits than the source's own prefix has.  Of two sources
    this can change only where they part, and where a prefix length ends.
    """
    addresses = {(int.from_bytes(address), length) for address, length in own if address.version == 6}
    numbers = sorted({number for number, _ in addresses})
    cuts = {(a, BITS - (a ^ b).bit_length() + 1) for pair in pairwise(numbers) for a, b in (pair, pair[::-1])}
    lengths = {length for _, length in addresses if length < BITS}
    cuts |= {(number, length + 1) for number in numbers for length in lengths}
    return {prefix(number, length) for number, length in cuts}


def prefix(number: int, length: int) -> Prefix:
    """Return the prefix of this *length* that the address is in."""
    return number >> BITS - length << BITS - length, length


def _array(data: bytes) -> NDArray[np.bytes_]:
    # numpy compares byte strings as memcmp does, but for zeros at the end, which it takes for padding: the same here.
    return np.frombuffer(data, dtype="S16")
