"""twos: the better of two, the user half.

The kernel half draws two servers by their weights, and takes the one with the
less overhead for its weight; there is nothing to prepare (ip_vs_twos.c).
"""

from __future__ import annotations

from xlvs.sched.parts.family import Ask, Slots, State, View
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the less loaded of two servers drawn, the first of equals."""
    usable = view.open(ask)
    if not usable:
        return None, view.state
    total = sum(weight for _, weight in usable)
    one, two = (_drawn(usable, ask.draw(total + 1)) for _ in range(2))
    better = ask.load(two[0]).overhead * one[1] < ask.load(one[0]).overhead * two[1]
    return (two if better else one)[0], view.state


def _drawn(slots: Slots, left: int) -> tuple[int, int]:
    """Return the first at which nothing is *left* once its weight is taken away."""
    for slot in slots:
        left -= slot[1]
        if left <= 0:
            return slot
    raise ValueError(f"{left} is left of a draw beyond the sum of the weights")


MEMBER = Scheduler(choose=choose)
