"""fo: weighted fail-over, the user half.

The kernel half takes the server with the largest weight, the newest of equals;
there is nothing to prepare (ip_vs_fo.c).
"""

from __future__ import annotations

from xlvs.sched.parts.family import Ask, State, View
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the heaviest server that takes connections."""
    heaviest = max(view.open(ask), key=lambda slot: slot[1], default=None)
    return heaviest[0] if heaviest else None, view.state


MEMBER = Scheduler(choose=choose)
