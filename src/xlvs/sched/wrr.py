"""wrr: weighted round robin, the user half.

The kernel half walks the servers in rounds, each with a current weight *cw*,
and takes every server of at least that weight.  A round lowers *cw* by *gcd*,
from *max_weight* down to 1.  Here both are derived from the weights, and *cw*
is brought along when they change (ip_vs_wrr.c).

The walk may pass over all servers for one choice, so that of many servers with
different weights is done here once: a ring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from xlvs.sched.parts.family import HEAD, Array, Ask, Parameters, Slots, State, Table, View
from xlvs.sched.parts.ring import FEW, compile_ring, index_of, round_of
from xlvs.sched.parts.scheduler import Scheduler


def parameters(weights: Sequence[int]) -> Parameters:
    """Return the greatest common divisor of the *weights*, and the largest less (divisor - 1)."""
    gcd = math.gcd(*weights) or 1
    # Less by gcd - 1, so that the last round is the one with cw = 1.
    return Parameters(max(weights, default=0) - (gcd - 1), gcd)


def ring(weights: Sequence[int]) -> Table | None:
    """Return the places in the order of all rounds; None for few servers, for equal ones, or if it were too large."""
    return compile_ring(_times(weights)) if len(weights) > FEW and min(weights) != max(weights) else None


def to_ring(state: State, weights: Sequence[int]) -> State:
    """Return the state with the index of the last choice."""
    times, (top, gcd) = _times(weights), parameters(weights)
    cw = state.cw if 0 < state.cw <= top else top
    return State(state.pos, index_of(times, state.pos, (top - cw) // gcd))


def from_ring(state: State, weights: Sequence[int]) -> State:
    """Return the state with the current weight."""
    top, gcd = parameters(weights)
    return State(state.pos, top - gcd * round_of(_times(weights), state.pos, state.cw))


def start(weights: Sequence[int]) -> State:
    """Return the state before the first round."""
    return State(HEAD, parameters(weights).max_weight)


def carry(state: State, old: Slots, new: Slots) -> State:
    """Return the state at the start of a round, with the current weight kept if it still fits (dest_changed)."""
    if list(old) == list(new):
        return state
    top, gcd = parameters([weight for _, weight in new])
    if state.cw > top or not state.cw:
        return State(HEAD, top)
    if gcd > 1:
        return State(HEAD, state.cw // gcd * gcd + 1)
    return State(HEAD, state.cw)


def _times(weights: Sequence[int]) -> Array:
    """Return in how many rounds each server is taken."""
    return np.array(weights, np.int64) // parameters(weights).gcd


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the next server of at least the current weight, lowering that round by round while there is none."""
    top, gcd = view.parameters
    if not top:
        return None, view.state
    usable, cw = dict(view.open(ask)), view.state.cw
    if not usable:
        # The kernel has then gone through all rounds, and begins anew unless this was the last.
        return None, State(HEAD, top) if cw > gcd or view.state.pos == HEAD else view.state
    begin = 0 if view.state.pos == HEAD else view.state.pos + 1
    while True:
        for place, (number, weight) in enumerate(view.slots[begin:], begin):
            if weight >= cw and number in usable:
                return number, State(place, cw)
        cw, begin = cw - gcd if cw > gcd else top, 0


MEMBER = Scheduler(
    choose=choose, parameters=parameters, start=start, carry=carry, ring=ring, to_ring=to_ring, from_ring=from_ring
)
