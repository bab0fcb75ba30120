"""Rings: the walk of rr or wrr done once, so that the kernel half need not pass over servers (``bpf/sched/ring.h``).

A ring is the places of the servers, round after round, until the walk repeats.
What it is made from is how many *times* each place is in it: a place that is
in it k times is in the last k rounds.  The state beside a ring is the place of
the last choice, as in the walk, and in place of the current weight the index
of that choice in the ring.
"""

from __future__ import annotations

import numpy as np

from xlvs.sched.parts.family import HEAD, Array, Table

FEW = 16
"""So many servers are looked at in one go: they need no ring."""

MOST = 65536
"""Entries of the largest ring."""


def compile_ring(times: Array) -> Table | None:
    """Return the places, round after round; None if it would be nobody's or too large."""
    total = int(times.sum(dtype=np.int64))
    if not 0 < total <= MOST:
        return None
    rounds = int(times.max())
    first = np.cumsum(times) - times
    # Entry by entry of the first place, then the second ...: the round it belongs to.
    of_round = np.arange(total) - np.repeat(first - (rounds - times), times)
    places = np.repeat(np.arange(len(times), dtype=np.uint32), times)
    return places[np.argsort(of_round.astype(np.uint16), kind="stable")]


def index_of(times: Array, pos: int, number: int) -> int:
    """Return the index of the last choice when it was at *pos* in round *number*; -1 before the first of all."""
    rounds = int(times.max())
    in_round = times >= rounds - number
    return int(_begins(times)[number]) + int(in_round[: 0 if pos == HEAD else pos + 1].sum()) - 1


def round_of(times: Array, pos: int, index: int) -> int:
    """Return the round that the walk is in, when *index* is that of the last choice, at *pos*."""
    begins = _begins(times)
    at = (index + 1) % int(times.sum()) if pos == HEAD else index
    return int(np.searchsorted(begins, at, "right")) - 1


def _begins(times: Array) -> Array:
    """Return the index at which each round begins."""
    rounds = int(times.max())
    # How many places have their first entry in each round.
    joining = np.bincount(rounds - times[times > 0], minlength=rounds)
    return np.cumsum(np.cumsum(joining)) - np.cumsum(joining)
