"""rr: round robin, the user half.

The kernel half takes the next server with a weight behind the place of the
last choice.  So all there is to do here is to keep that place on the same
server while servers come and go (ip_vs_rr.c).
"""

from __future__ import annotations

from collections.abc import Mapping

from xlvs.sched._family import HEAD, Ask, Slots, State, View
from xlvs.sched._plain import parameters, start, table

__all__ = ["FLAGS", "TABLE_SIZE", "carry", "choose", "parameters", "start", "table"]

TABLE_SIZE = 0
FLAGS: Mapping[str, str] = {}


def carry(state: State, old: Slots, new: Slots) -> State:
    """Return the place of the last chosen server in *new*; of its nearest newer one still there if it is gone."""
    places = {number: place for place, (number, _) in enumerate(new)}
    last = -1 if state.pos == HEAD else state.pos
    for number, _ in reversed(old[: last + 1]):
        if number in places:
            return State(places[number])
    return State()


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the next server with a weight, up to and including the last one chosen."""
    first = 0 if view.state.pos == HEAD else view.state.pos + 1
    for place in [*range(first, len(view.slots)), *range(first)]:
        number, weight = view.slots[place]
        if weight:
            return number, State(place)
    return None, view.state
