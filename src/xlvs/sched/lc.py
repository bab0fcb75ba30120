"""lc: least connections, the user half.

The kernel half takes the server with the least overhead, the newest of equals;
there is nothing to prepare (ip_vs_lc.c).
"""

from __future__ import annotations

from xlvs.sched.parts.family import Ask, State, View
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server of any weight but 0 with the least overhead."""
    numbers = [number for number, _ in view.open(ask)]
    return min(numbers, key=lambda number: ask.load(number).overhead, default=None), view.state


MEMBER = Scheduler(choose=choose)
