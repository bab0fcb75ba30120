"""How many flows each prefix of clients has: sorted arrays, merged when there is enough to merge.

A dictionary of a million prefixes would take ten times the memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.model import MAPPED, Address

Words = npt.NDArray[np.uint32]

_MAPPED = np.frombuffer(MAPPED, "<u4")
_MANY = 1 << 17


class Tally:
    """Counts clients by the first *short* bits of an IPv4 address, the first *long* ones of an IPv6 one."""

    def __init__(self, short: int, long: int) -> None:
        self._bits = (short, long)
        mask = (((1 << 32) - 1) << (32 - short)) & 0xFFFFFFFF
        self._short = _Sorted(np.dtype("<u4"))
        self._short_mask = np.uint32(int.from_bytes(mask.to_bytes(4, "big"), "little"))
        self._long = _Sorted(np.dtype("S16"))
        mask = ((1 << long) - 1) << (128 - long)
        self._long_mask = np.frombuffer(mask.to_bytes(16, "big"), "<u4")

    def add(self, clients: Words) -> None:
        """Count these addresses, each given as four words in network order (`xlvs.model.Address`)."""
        if not len(clients):
            return
        mapped = (clients[:, 0] | clients[:, 1] | (clients[:, 2] ^ _MAPPED[2])) == 0
        self._short.add(clients[mapped, 3] & self._short_mask)
        if not mapped.all():
            self._long.add((clients[~mapped] & self._long_mask).view("S16")[:, 0])

    def largest(self, limit: int) -> tuple[list[tuple[str, int]], int]:
        """Return the prefixes with most flows, at most *limit*, and how many more there are."""
        short, long = self._short.largest(limit), self._long.largest(limit)
        rows = [(_text(_mapped(key), self._bits[0]), count) for key, count in short]
        rows += [(_text(key.ljust(16, b"\0"), self._bits[1]), count) for key, count in long]
        rows.sort(key=lambda row: -row[1])
        return rows[:limit], len(self._short) + len(self._long) - len(rows[:limit])


class _Sorted:
    """Counts keys: *keys* sorted, *counts* beside them, and what is still to be merged into them."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._keys: npt.NDArray[Any] = np.zeros(0, dtype)
        self._counts = np.zeros(0, np.int64)
        self._new: list[tuple[npt.NDArray[Any], npt.NDArray[np.int64]]] = []

    def __len__(self) -> int:
        self._merge()
        return len(self._keys)

    def add(self, keys: npt.NDArray[Any]) -> None:
        """Count these keys."""
        self._new.append(np.unique(keys, return_counts=True))
        if sum(len(some) for some, _ in self._new) > max(_MANY, len(self._keys)):
            self._merge()

    def largest(self, limit: int) -> list[tuple[Any, int]]:
        """Return the keys that were counted most often, and how often."""
        self._merge()
        order = np.argsort(-self._counts, kind="stable")[:limit]
        return list(zip(self._keys[order].tolist(), self._counts[order].tolist(), strict=True))

    def _merge(self) -> None:
        if self._new:
            counts = np.concatenate([self._counts, *(some for _, some in self._new)])
            self._keys, places = np.unique(
                np.concatenate([self._keys, *(some for some, _ in self._new)]), return_inverse=True
            )
            self._counts = np.bincount(places, counts, len(self._keys)).astype(np.int64)
            self._new.clear()


def _mapped(word: int) -> bytes:
    return _MAPPED.tobytes() + word.to_bytes(4, "little")


def _text(packed: bytes, bits: int) -> str:
    return f"{Address(packed)}/{bits}"
