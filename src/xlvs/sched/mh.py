"""mh: Maglev hashing, the user half.

The kernel half hashes the client's address into a table of 4093 entries.  Here
the table is filled as Maglev does (Eisenbud et al., NSDI 2016, §3.4): every
server has its own permutation of the entries, and the servers take turns,
newest first, each claiming as many entries per turn as its weight says, always
the next of its permutation that is still free.  A change of servers then moves
few clients (ip_vs_mh.c, with CONFIG_IP_VS_MH_TAB_INDEX=12).

Weights count with their last value that was not 0, so a server that is
drained keeps its entries and no other server's clients move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from xlvs.sched._family import FALLBACK, NO_SERVER, PORT, Ask, Entry, State, Table, View
from xlvs.sched._hashing import MASK, fold, seek
from xlvs.sched._plain import carry, parameters, start

__all__ = ["FLAGS", "TABLE_SIZE", "carry", "choose", "parameters", "start", "table"]

TABLE_SIZE = 4093
FLAGS: Mapping[str, str] = {"mh-fallback": FALLBACK, "mh-port": PORT}

_TABLE_BITS = 6
"""Weights are scaled down to this many bits."""

_OFFSET_KEY = 2654435761
_SKIP_KEY = 2654446892

_MASK64 = 0xFFFFFFFFFFFFFFFF


def table(servers: Sequence[Entry]) -> Table:
    """Return the table; without any weight, of nobody."""
    taken = [NO_SERVER] * TABLE_SIZE
    turns = _turns([server.last_weight for server in servers])
    left = TABLE_SIZE if any(turns) else 0
    places = []
    skips = []
    for server in servers:
        seed = fold(server.address, server.port)
        places.append(_hash(seed, _OFFSET_KEY) % TABLE_SIZE)
        skips.append(_hash(seed, _SKIP_KEY) % (TABLE_SIZE - 1) + 1)
    while left:
        for i, server in enumerate(servers):
            for _ in range(min(turns[i], left)):
                while taken[places[i]] != NO_SERVER:
                    places[i] = (places[i] + skips[i]) % TABLE_SIZE
                taken[places[i]] = server.number
                left -= 1
    return np.array(taken, np.uint32)


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server that the client's hash points at."""
    return seek(view, ask, _index), view.state


def _index(client: int, offset: int) -> int:
    return _hash((client + offset) & MASK, _OFFSET_KEY) % TABLE_SIZE


def _turns(weights: list[int]) -> list[int]:
    """Return how many entries each server claims per turn: 0 only without weight."""
    gcd = math.gcd(*weights) or 1
    shift = max((max(weights, default=0) // gcd).bit_length() - _TABLE_BITS, 0)
    return [(weight // gcd >> shift) or int(weight > 0) for weight in weights]


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
