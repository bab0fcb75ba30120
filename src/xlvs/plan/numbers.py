"""Finding free numbers and free runs of blocks.

Both allocators only *propose*: nothing is taken until a write that uses it has
been made.  What was given back longest ago is proposed first, because a CPU
may still be reading what a service pointed at a moment ago.
"""

from __future__ import annotations

from itertools import islice

from xlvs.errors import XlvsError


class Numbers:
    """The numbers 0..limit-1 of one map.  *what* names the thing counted, for the error sentence."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._next = 0
        self._free: dict[int, None] = {}

    @property
    def end(self) -> int:
        """One more than the highest number that was ever taken."""
        return self._next

    def propose(self, count: int) -> list[int]:
        """Return *count* free numbers, never-used ones first; raises `XlvsError` if there are not that many."""
        fresh = list(range(self._next, min(self._next + count, self._limit)))
        fresh += islice(self._free, count - len(fresh))
        if len(fresh) < count:
            raise XlvsError(
                f"no room for more {self._what}: all {self._limit} places are in use or kept for their flows"
            )
        return fresh

    def take(self, number: int) -> None:
        """Mark *number* as used; taking it twice is harmless."""
        if number < self._next:
            self._free.pop(number, None)
            return
        self._free.update(dict.fromkeys(range(self._next, number)))
        self._next = number + 1

    def give(self, number: int) -> None:
        """Mark *number* as free."""
        self._free[number] = None


class Blocks:
    """Runs of consecutive blocks out of 0..limit-1."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: dict[int, int] = {}
        self._gaps = [(0, limit)]

    def propose(self, size: int) -> int:
        """Return the first block of a free run of *size*; raises `XlvsError` if there is none."""
        if size == 0:
            return 0
        first = self._fit(size)
        if first is None:
            self._find_gaps()
            first = self._fit(size)
        if first is None:
            raise XlvsError(f"no room for more real servers: no {size} consecutive blocks of {self._limit} are free")
        return first

    def take(self, first: int, size: int) -> None:
        """Mark a run as used."""
        if size == 0:
            return
        self._used[first] = size
        for i, (start, length) in enumerate(self._gaps):
            if start == first and length >= size:
                self._gaps[i : i + 1] = [(start + size, length - size)] if length > size else []
                return
        self._find_gaps()

    def give(self, first: int, size: int) -> None:
        """Mark a run as free.  It is proposed again only once the gaps known so far are used up."""
        if size:
            del self._used[first]

    def _fit(self, size: int) -> int | None:
        return next((start for start, length in self._gaps if length >= size), None)

    def _find_gaps(self) -> None:
        gaps, start = [], 0
        for first in sorted(self._used):
            if first > start:
                gaps.append((start, first - start))
            start = first + self._used[first]
        if start < self._limit:
            gaps.append((start, self._limit - start))
        self._gaps = gaps
