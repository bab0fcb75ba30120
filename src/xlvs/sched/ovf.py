"""ovf: weighted overflow, the user half.

The kernel half takes the server with the largest weight, the newest of equals,
among those with no more active connections than that; there is nothing to
prepare (ip_vs_ovf.c).
"""

from __future__ import annotations

from xlvs.sched.parts.family import Ask, State, View
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the heaviest server that is not full."""
    roomy = [slot for slot in view.open(ask) if ask.load(slot[0]).active <= slot[1]]
    heaviest = max(roomy, key=lambda slot: slot[1], default=None)
    return heaviest[0] if heaviest else None, view.state


MEMBER = Scheduler(choose=choose)
