"""lblc: locality-based least connections, the user half.

The kernel half remembers which server the connections to a virtual address go
to, and takes another, the one that wlc would take, only when that is strained
(ip_vs_lblc.c).
"""

from __future__ import annotations

from xlvs.sched import wlc
from xlvs.sched.parts.family import Ask, Locality, State, View
from xlvs.sched.parts.locality import carry, is_strained, recall
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the server of this address, or a new one."""
    known, usable = recall(view, ask), dict(view.open(ask))
    if known:
        number = known.servers[0]
        if number in usable and not is_strained(view, ask, number):
            return number, view.state
    chosen, state = wlc.choose(view, ask)
    if chosen is not None:
        view.localities[ask.virtual] = Locality([chosen], ask.now, ask.now)
    return chosen, state


MEMBER = Scheduler(choose=choose, carry=carry)
