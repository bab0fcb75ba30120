"""rr: round robin, the user half.

The kernel half takes the next server with a weight behind the place of the
last choice.  Here that place is kept on the same server while servers come and
go (ip_vs_rr.c), and servers without a weight are left out of a ring.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xlvs.sched.parts.family import HEAD, Array, Ask, Slots, State, Table, View
from xlvs.sched.parts.ring import FEW, compile_ring, index_of
from xlvs.sched.parts.scheduler import Scheduler


def ring(weights: Sequence[int]) -> Table | None:
    """Return the places of all servers with a weight; None for few servers, or if all have one, or none."""
    return compile_ring(_times(weights)) if len(weights) > FEW and 0 in weights else None


def to_ring(state: State, weights: Sequence[int]) -> State:
    """Return the state with the index of the last place, or of the nearest one before it with a weight."""
    return State(state.pos, index_of(_times(weights), state.pos, 0))


def from_ring(state: State, weights: Sequence[int]) -> State:
    """Return the state without that."""
    return State(state.pos)


def carry(state: State, old: Slots, new: Slots) -> State:
    """Return the place of the last chosen server in *new*; of its nearest newer one still there if it is gone."""
    places = {number: place for place, (number, _) in enumerate(new)}
    last = -1 if state.pos == HEAD else state.pos
    for number, _ in reversed(old[: last + 1]):
        if number in places:
            return State(places[number])
    return State()


def _times(weights: Sequence[int]) -> Array:
    return np.array([weight > 0 for weight in weights], np.int64)


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the next server that takes connections, up to and including the last one chosen."""
    usable = dict(view.open(ask))
    first = 0 if view.state.pos == HEAD else view.state.pos + 1
    for place in [*range(first, len(view.slots)), *range(first)]:
        number, _ = view.slots[place]
        if number in usable:
            return number, State(place)
    return None, view.state


MEMBER = Scheduler(choose=choose, carry=carry, ring=ring, to_ring=to_ring, from_ring=from_ring)
