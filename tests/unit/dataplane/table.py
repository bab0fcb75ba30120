"""The flow table as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_64 = (1 << 64) - 1
MAPPED = bytes(10) + b"\xff\xff"


class Ends(NamedTuple):
    """Whose packets a flow has: both addresses as 16 bytes, IPv4 mapped, and the protocol's number."""

    client: bytes
    cport: int
    virt: bytes
    vport: int
    protocol: int

    @property
    def family(self) -> int:
        """4 or 6."""
        return 4 if self.virt.startswith(MAPPED) else 6


def bucket_of(seed: Sequence[int], buckets: int, ends: Ends) -> int:
    """Return the number of the bucket, of so many, to which client address, port and protocol lead."""
    w = [int.from_bytes(ends.client[i : i + 4], "little") for i in range(0, 16, 4)]
    x = int.from_bytes(ends.cport.to_bytes(2, "big"), "little") << 32 | ends.protocol << 48 | w[3]
    if ends.family == 6:
        x ^= ((w[0] << 32 | w[1]) ^ seed[1]) * 0x9FB21C651E98DF25 & _64
        x ^= x >> 29
        x = (x ^ w[2] << 7) * 0xD6E8FEB86659FD93 & _64
    x = (x ^ seed[0]) * 0xBF58476D1CE4E5B9 & _64
    x = (x ^ x >> 32 ^ seed[1]) * 0x94D049BB133111EB & _64
    return (x >> 32) * buckets >> 32
