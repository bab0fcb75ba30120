"""wlc: weighted least connections, the user half.

The kernel half takes the server with the least overhead / weight, the newest
of equals; there is nothing to prepare (ip_vs_wlc.c).
"""

from __future__ import annotations

from fractions import Fraction

from xlvs.sched.parts.family import Ask, State, View
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server with the least overhead for its weight; weight 0 is out."""
    least = min(view.open(ask), key=lambda slot: Fraction(ask.load(slot[0]).overhead, slot[1]), default=None)
    return least[0] if least else None, view.state


MEMBER = Scheduler(choose=choose)
