"""The parts of a member that remembers nothing and has no table: what most schedulers are."""

from __future__ import annotations

from collections.abc import Sequence

from xlvs.sched.parts.family import Entry, Fill, Parameters, Slots, State, Table


def parameters(weights: Sequence[int]) -> Parameters:
    """Return zeros: nothing is derived from the weights."""
    return Parameters()


def table(servers: Sequence[Entry], fill: Fill | None = None, size: int = 0) -> Table | None:
    """Return None: there is no table."""
    return None


def ring(weights: Sequence[int]) -> Table | None:
    """Return None: there is no ring."""
    return None


def to_ring(state: State, weights: Sequence[int]) -> State:
    """Return the same: there is no ring."""
    return state


def from_ring(state: State, weights: Sequence[int]) -> State:
    """Return the same: there is no ring."""
    return state


def start(weights: Sequence[int]) -> State:
    """Return the empty state."""
    return State()


def carry(state: State, old: Slots, new: Slots) -> State:
    """Return the empty state."""
    return State()
