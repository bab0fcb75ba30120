"""What sh, dh and mh share: address and port as a number, a hash of it, and the search in a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from xlvs.model import Address
from xlvs.sched.parts.family import FALLBACK, NO_SERVER, PORT, Array, Ask, Entry, View

MASK = 0xFFFFFFFF

_GOLDEN_RATIO = 0x61C88647
"""GOLDEN_RATIO_32 of linux/hash.h."""


def fold(address: Address, port: int) -> int:
    """Return address and port as the 32-bit number that IPVS hashes; of an IPv6 address the XOR of its words."""
    whole = int.from_bytes(address)
    words = whole
    for _ in range(3 if address.version == 6 else 0):
        whole >>= 32
        words ^= whole
    return ((words & MASK) + port) & MASK


def folds(servers: Sequence[Entry]) -> Array:
    """Return `fold` of each of the *servers*."""
    words = np.frombuffer(b"".join(server.address for server in servers), ">u4").reshape(-1, 4).astype(np.uint32)
    is_v4 = (words[:, :3] == (0, 0, 0xFFFF)).all(axis=1)
    rest = np.where(is_v4, np.uint32(0), words[:, 0] ^ words[:, 1] ^ words[:, 2])
    return (words[:, 3] ^ rest) + np.array([server.port for server in servers], np.uint32)


def golden_hash(word: int) -> int:
    """Return ``hash_32(word, 8)`` of linux/hash.h."""
    return (word * _GOLDEN_RATIO & MASK) >> 24


def seek(view: View, ask: Ask, index: Callable[[int, int], int]) -> int | None:
    """Return the server in the table at *index* (client, 0), or None if it takes no new flows.

    With the fallback flag, further indices of the client follow once around
    the table, beginning with the first index as the second argument.
    """
    if view.table is None:
        return None
    client = fold(ask.client, ask.port if PORT in view.flags else 0)
    size = len(view.table)
    usable = dict(view.open(ask))
    first = index(client, 0)
    # With every server at weight 0, or overloaded, there is nothing to seek.
    more = range(size) if FALLBACK in view.flags and usable else ()
    for place in chain([first], (index(client, (first + step) % size) for step in more)):
        number = int(view.table[place])
        if number == NO_SERVER:
            return None
        if number in usable:
            return number
    return None
