"""Counters as users see them: less what they were when zeroed, and as rates.

Pure.  Rates are those of ip_vs_est.c: a sample every two seconds moves the
estimate a quarter of the way, in fixed point with 10 bits (connections and
packets) or 5 bits (bytes) behind the point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]

FIELDS = ("conns", "in_pkts", "out_pkts", "in_bytes", "out_bytes")
SAMPLE_S = 2.0
CALM_S = 60.0
"""So long no new flow has found the flow table full before it counts as having room again."""

_SHIFTS = np.array([10, 10, 10, 5, 5])
_HALVES = (1 << (_SHIFTS - 1)) - 1


class Counters:
    """The counters of all services, or of all servers, by number; *limit* is how many there can be."""

    def __init__(self, limit: int) -> None:
        shape = (limit, len(FIELDS))
        self._base = np.zeros(shape, np.int64)
        self._last = np.zeros(shape, np.int64)
        self._estimate = np.zeros(shape, np.int64)
        self._moving = np.zeros(limit, bool)

    def __len__(self) -> int:
        return len(self._base)

    def begin(self, raw: Array) -> None:
        """Take *raw*, the counters of the numbers from 0 on, as what the first sample is compared with."""
        self._last[: len(raw)] = raw

    def zero(self, numbers: npt.NDArray[np.uint32], raw: Array) -> dict[int, tuple[int, ...]]:
        """Let *numbers* count from *raw* on, their counters now, a row each; return the baselines that are not zero."""
        self._base[numbers] = raw
        self._last[numbers] = raw
        self._estimate[numbers] = 0
        counted = raw.any(axis=1)
        rows = zip(numbers[counted].tolist(), raw[counted].tolist(), strict=True)
        return {number: tuple(values) for number, values in rows}

    def set_baseline(self, number: int, baseline: npt.ArrayLike) -> None:
        """Restore a baseline."""
        self._base[number] = baseline

    def sample(self, raw: Array, elapsed_s: float) -> None:
        """Take a sample of the counters from number 0 on, *elapsed_s* after the one before."""
        if elapsed_s <= 0:
            return
        n = len(raw)
        # Of a hundred thousand servers most do nothing just now, and did nothing a minute ago.
        busy = np.flatnonzero((raw != self._last[:n]).any(axis=1) | self._moving[:n])
        rate = ((raw[busy] - self._last[busy]) * (1 << _SHIFTS) / elapsed_s).astype(np.int64)
        estimate = self._estimate[busy]
        estimate += (rate - estimate) >> 2
        self._estimate[busy] = estimate
        self._moving[busy] = estimate.any(axis=1)
        self._last[busy] = raw[busy]

    def counts(self, raw: Array) -> list[list[int]]:
        """Return what users see for *raw*, the counters from number 0 on."""
        counts: list[list[int]] = np.maximum(raw - self._base[: len(raw)], 0).tolist()
        return counts

    def rates(self, count: int) -> list[list[int]]:
        """Return the rates per second of the first *count* numbers."""
        rates: list[list[int]] = ((self._estimate[:count] + _HALVES) >> _SHIFTS).tolist()
        return rates

    def one(self, number: int, raw: Array) -> tuple[list[int], list[int]]:
        """Return what users see for *raw*, the counters of *number* alone, and its rates per second."""
        rates = (self._estimate[number] + _HALVES) >> _SHIFTS
        return np.maximum(raw - self._base[number], 0).tolist(), rates.tolist()


def named(values: list[int]) -> dict[str, Any]:
    """Return five counters under their names."""
    return dict(zip(FIELDS, values, strict=True))


class Fullness:
    """Whether the flow table is *full*: from the first new flow that finds no room until there was none for a while.

    *turned_away* are the flows that found no room since then.  *count* is how many there had been before.
    """

    def __init__(self, count: int) -> None:
        self.full = False
        self.turned_away = 0
        self._count = count
        self._last_s = 0.0

    def look(self, count: int, now_s: float) -> None:
        """Take note of how many new flows have found no room by now."""
        if count != self._count:
            self.turned_away = (self.turned_away if self.full else 0) + count - self._count
            self._count, self._last_s, self.full = count, now_s, True
        elif now_s - self._last_s >= CALM_S:
            self.full = False

    @staticmethod
    def sentence(room: Mapping[int, int]) -> str:
        """Return what operators are told of a full table that has *room* for so many flows, by family."""
        return (
            f"the flow table is full (it is made for {room[4]} flows of IPv4 and {room[6]} of IPv6): known flows go "
            "on, new ones get a server by their client alone and may lose it when servers change; "
            "restart the daemon with a larger --flows, which takes all flows over"
        )
