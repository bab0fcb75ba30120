"""Finding free numbers and free runs of blocks.

Both allocators only *propose*: nothing is taken until what uses it is in
force.  What was given back longest ago is proposed first, because a CPU may
still be reading what a service pointed at a moment ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    def take(self, numbers: Sequence[int]) -> None:
        """Mark *numbers* as used; taking one twice is harmless."""
        if numbers and numbers[0] == self._next and numbers[-1] - numbers[0] + 1 == len(numbers) == len(set(numbers)):
            self._next += len(numbers)
            return
        for number in numbers:
            if number == self._next:
                self._next += 1
            elif number < self._next:
                self._free.pop(number, None)
            else:
                self._free.update(dict.fromkeys(range(self._next, number)))
                self._next = number + 1

    def give(self, numbers: Iterable[int]) -> None:
        """Mark *numbers* as free."""
        self._free.update(dict.fromkeys(numbers))


class Blocks:
    """Runs of consecutive blocks out of 0..limit-1."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: dict[int, int] = {}
        self._gaps = [(0, limit)]

    def propose(self, sizes: Sequence[int]) -> list[int]:
        """Return the first block of a free run for each of *sizes*; raises `XlvsError` if there is none."""
        found = _fit(self._gaps, sizes)
        if found is None:
            self._find_gaps()
            found = _fit(self._gaps, sizes)
        if found is None:
            raise XlvsError(
                f"no room for more real servers: {sum(sizes)} more blocks of 16 do not fit into the {self._limit}"
            )
        return found

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

    def _find_gaps(self) -> None:
        gaps, start = [], 0
        for first in sorted(self._used):
            if first > start:
                gaps.append((start, first - start))
            start = first + self._used[first]
        if start < self._limit:
            gaps.append((start, self._limit - start))
        self._gaps = gaps


def _fit(gaps: Sequence[tuple[int, int]], sizes: Sequence[int]) -> list[int] | None:
    """Return where each size fits, first come first served; None if one does not."""
    left = list(gaps)
    found = []
    for size in sizes:
        place = next((i for i, (_, length) in enumerate(left) if length >= size), None) if size else 0
        if place is None:
            return None
        if not size:
            found.append(0)
            continue
        start, length = left[place]
        found.append(start)
        left[place] = (start + size, length - size)
    return found
