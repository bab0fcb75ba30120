"""nq: never queue, the user half.

The kernel half takes a server without active connections, the newest of them,
or else the one that sed would take; there is nothing to prepare (ip_vs_nq.c).
"""

from __future__ import annotations

from xlvs.sched import sed
from xlvs.sched.parts.family import Ask, State, View
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the first server that has nothing to do; if there is none, who of them sed says."""
    idle = (number for number, _ in view.open(ask) if not ask.load(number).active)
    number = next(idle, None)
    return sed.choose(view, ask) if number is None else (number, view.state)


MEMBER = Scheduler(choose=choose)
