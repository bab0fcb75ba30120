"""lc: least connections, the user half.

The kernel half takes the server with the least overhead, the newest of equals;
there is nothing to prepare (ip_vs_lc.c).
"""

from __future__ import annotations

from collections.abc import Mapping

from xlvs.sched.parts.family import Ask, State, View
from xlvs.sched.parts.plain import carry, from_ring, parameters, ring, start, table, to_ring

__all__ = [
    "FLAGS",
    "TABLE_SIZE",
    "carry",
    "choose",
    "from_ring",
    "parameters",
    "ring",
    "start",
    "table",
    "to_ring",
]

TABLE_SIZE = 0
FLAGS: Mapping[str, str] = {}


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server of any weight but 0 with the least overhead."""
    numbers = [number for number, _ in view.open(ask)]
    return min(numbers, key=lambda number: ask.load(number).overhead, default=None), view.state
