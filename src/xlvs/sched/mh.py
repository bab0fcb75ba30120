"""mh: Maglev hashing, the user half.

The kernel half hashes the client's address into a table of 4093 entries, or as
many as the service says.  Here is said how the table is filled, as Maglev does
(Eisenbud et al., NSDI 2016, §3.4): every server has its own permutation of the
entries, and the servers take turns, newest first, each claiming as many entries
per turn as its weight says, always the next of its permutation that is still
free.  A change of servers then moves few clients (ip_vs_mh.c, with
CONFIG_IP_VS_MH_TAB_INDEX=12, or the one that belongs to the size).

Weights count with their last value that was not 0, so a server that is
drained keeps its entries and no other server's clients move.

`fill` is the rule, to be read.  The daemon fills tables with a program that
does the same in the kernel (``bpf/maglev.bpf.c``), a hundred times as fast,
and keeps what it filled last (`Filled`).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from xlvs.sched.parts.family import FALLBACK, NO_SERVER, PORT, Array, Ask, Entry, Fill, State, Table, View
from xlvs.sched.parts.hashing import MASK, folds, seek
from xlvs.sched.parts.scheduler import Scheduler

TABLE_SIZE = 4093
TABLE_SIZES = (251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071)
"""Those that a kernel can be built with."""

FLAGS = {"mh-fallback": FALLBACK, "mh-port": PORT}

_OFFSET_KEY = 2654435761
_SKIP_KEY = 2654446892

_MASK64 = 0xFFFFFFFFFFFFFFFF


def fill(seeds: Array, turns: Array, size: int) -> Array:
    """Return who owns each of *size* (a prime) entries, as places in *seeds* and *turns*.

    *seeds* are the servers as the numbers that are hashed; *turns* says how
    many entries each claims per turn, at least 1.
    """
    owners = [NO_SERVER] * size
    places = [_hash(seed, _OFFSET_KEY) % size for seed in seeds.tolist()]
    skips = [_hash(seed, _SKIP_KEY) % (size - 1) + 1 for seed in seeds.tolist()]
    servers = list(zip(range(len(places)), skips, turns.tolist(), strict=True))
    left = size
    while left:
        for server, skip, claims in servers:
            place = places[server]
            for _ in range(min(claims, left)):
                while owners[place] != NO_SERVER:
                    place = (place + skip) % size
                owners[place] = server
                left -= 1
            places[server] = place
    return np.array(owners, np.uint32)


class Filled:
    """Fills tables by *fill*, and remembers the last ones, of together *room* entries.

    What is remembered does not depend on who is drained and what the servers'
    numbers are: those of a change that leaves the table as it is are not
    filled again.
    """

    def __init__(self, fill: Fill, room: int = 1 << 22) -> None:
        self._fill = fill
        self._room = room
        self._known: OrderedDict[tuple[bytes, bytes, int], Array] = OrderedDict()

    def __call__(self, seeds: Array, turns: Array, size: int) -> Array:
        """Return what *fill* does."""
        key = (seeds.tobytes(), turns.tobytes(), size)
        found = self._known.get(key)
        if found is not None:
            self._known.move_to_end(key)
            return found
        found = self._known[key] = self._fill(seeds, turns, size).astype(np.uint16)
        self._room -= size
        while self._room < 0:
            (_, _, given_up), _ = self._known.popitem(last=False)
            self._room += given_up
        return found


def table(servers: Sequence[Entry], fill: Fill = fill, size: int = 0) -> Table:
    """Return the table, of a prime *size*; without any weight, of nobody."""
    size = size or TABLE_SIZE
    turns = _turns([server.last_weight for server in servers], size.bit_length() // 2)
    owning = np.flatnonzero(turns)
    if not len(owning):
        return np.full(size, NO_SERVER, np.uint32)
    numbers = np.array([server.number for server in servers], np.uint32)
    owners = fill(folds(servers)[owning], turns[owning], size)
    return numbers[owning][owners]


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server that the client's hash points at."""
    size = TABLE_SIZE if view.table is None else len(view.table)
    return seek(view, ask, lambda client, offset: _hash((client + offset) & MASK, _OFFSET_KEY) % size), view.state


def _turns(weights: list[int], bits: int) -> Array:
    """Return how many entries each server claims per turn, in so many *bits*: 0 only without weight."""
    gcd = math.gcd(*weights) or 1
    shift = max((max(weights, default=0) // gcd).bit_length() - bits, 0)
    given = np.array(weights, np.uint32)
    turns: Array = np.maximum(given // gcd >> shift, given > 0).astype(np.uint32)
    return turns


def _hash(word: int, key: int) -> int:
    """Return SipHash-1-3 of one 32-bit *word*, cut to 32 bits: hsiphash_1u32 of lib/siphash.c on 64-bit machines."""
    message = 4 << 56 | word
    v = [
        0x736F6D6570736575 ^ key,
        0x646F72616E646F6D ^ key,
        0x6C7967656E657261 ^ key,
        0x7465646279746573 ^ key ^ message,
    ]
    _sip_round(v)
    v[0] ^= message
    v[2] ^= 0xFF
    for _ in range(3):
        _sip_round(v)
    return (v[0] ^ v[1] ^ v[2] ^ v[3]) & MASK


def _sip_round(v: list[int]) -> None:
    a, b, c, d = v
    a = (a + b) & _MASK64
    b = _rotate(b, 13) ^ a
    a = _rotate(a, 32)
    c = (c + d) & _MASK64
    d = _rotate(d, 16) ^ c
    a = (a + d) & _MASK64
    d = _rotate(d, 21) ^ a
    c = (c + b) & _MASK64
    b = _rotate(b, 17) ^ c
    c = _rotate(c, 32)
    v[:] = a, b, c, d


def _rotate(value: int, by: int) -> int:
    return (value << by | value >> (64 - by)) & _MASK64


MEMBER = Scheduler(choose=choose, table=table, table_size=TABLE_SIZE, flags=FLAGS)
