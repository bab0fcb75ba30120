"""A scheduler: how it chooses, and what it prepares for that, which for most is nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from xlvs.sched.parts.family import Ask, Entry, Fill, Parameters, Slots, State, Table, View


class TableOf(Protocol):
    """What makes a table of server numbers."""

    def __call__(self, servers: Sequence[Entry], fill: Fill = ..., size: int = 0) -> Table | None:
        """Return the table for *servers*, newest first; *size* is another than the usual, for who can have one."""


def _no_table(servers: Sequence[Entry], fill: Fill | None = None, size: int = 0) -> Table | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A member of the family: a module fills in what it does itself, as ``struct ip_vs_scheduler`` is filled in."""

    choose: Callable[[View, Ask], tuple[int | None, State]]
    """The server's number, or None, and the state after the choice: what the kernel half must do."""

    flags: Mapping[str, str] = field(default_factory=dict)
    """Its own words for scheduler flags, and the flag each stands for."""

    parameters: Callable[[Sequence[int]], Parameters] = lambda weights: Parameters()
    """What of the weights goes into the service's value."""

    start: Callable[[Sequence[int]], State] = lambda weights: State()
    """The state of a service that gets this scheduler now, by the weights of its servers."""

    carry: Callable[[State, Slots, Slots], State] = lambda state, old, new: State()
    """The state after the servers *old* became *new*; the same if they are the same."""

    table_size: int = 0
    """Entries of its table of servers; 0 if it has none."""

    table: TableOf = _no_table
    """The table; None if it has none."""

    ring: Callable[[Sequence[int]], Table | None] = lambda weights: None
    """The places of the servers in the order of the choices; None if choosing needs no ring, or has none."""

    to_ring: Callable[[State, Sequence[int]], State] = lambda state, weights: state
    """The state as the kernel half keeps it beside a ring."""

    from_ring: Callable[[State, Sequence[int]], State] = lambda state, weights: state
    """The state of which `to_ring`, or a choice by the ring, made this one."""
