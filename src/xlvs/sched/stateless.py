"""The choice when there is no room to remember it: weighted rendezvous hashing, as ``bpf/sched/stateless.h`` does it.

Not a scheduler of its own: the kernel half falls back to it when the flow
table is full.  Here it is a model that says what the kernel half must answer.
"""

from __future__ import annotations

from fractions import Fraction

from xlvs.model import Address
from xlvs.sched.parts.family import Slots

_MASK64 = 0xFFFFFFFFFFFFFFFF


def choose(slots: Slots, client: Address, port: int) -> int | None:
    """Return the number of the server with the least -log2(hash) / weight; weight 0 is out."""
    seed = _client_hash(client, port)
    costs = [(Fraction(_cost((_mix(seed ^ number) >> 32) + 1), weight), number) for number, weight in slots if weight]
    return min(costs, key=lambda cost: cost[0])[1] if costs else None


def _client_hash(client: Address, port: int) -> int:
    whole = int.from_bytes(client)
    # The kernel half sees words and port in network order, on a little-endian machine.
    words = [int.from_bytes(whole.to_bytes(16, "big")[i : i + 4], "little") for i in range(0, 16, 4)]
    seed = _mix(words[0] << 32 | words[1])
    seed = _mix(seed ^ (words[2] << 32 | words[3]))
    return _mix(seed ^ int.from_bytes(port.to_bytes(2, "big"), "little"))


def _mix(x: int) -> int:
    """Return SplitMix64's finaliser of *x*."""
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK64
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK64
    return x ^ x >> 31


def _cost(h: int) -> int:
    """Return about -log2(h / 2^32), in 1 / 65536."""
    log = h.bit_length() - 1
    m = (h << 16 >> log) & 0xFFFF
    return (32 << 16) - ((log << 16) + m + (m * (0x10000 - m) * 22545 >> 32))
