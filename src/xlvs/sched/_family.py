"""What every scheduler is made of, and what its choices may depend on.

Pure: the words the family shares, nothing that any one member decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from xlvs.model import Address

HEAD = 0xFFFFFFFF
"""The place before the first server (``XLVS_POS_HEAD``)."""

NO_SERVER = 0xFFFFFFFF
"""What a table says where there is no server."""

FALLBACK = "flag-1"
PORT = "flag-2"

Array = npt.NDArray[Any]

Table = npt.NDArray[np.uint32]

Fill = Callable[[Array, Array, int], Array]
"""What fills a table of mh: `mh.fill`, or something faster with the same result."""

Slots = Sequence[tuple[int, int]]
"""(server number, weight), newest server first."""


class State(NamedTuple):
    """What a scheduler remembers: the place of the last choice, and the current weight of wrr."""

    pos: int = HEAD
    cw: int = 0


class Parameters(NamedTuple):
    """What wrr derives from the weights; zeros for everyone else."""

    max_weight: int = 0
    gcd: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One server of a service, as a table is made from it.

    *last_weight* is the last weight that was not 0, or the weight it was added
    with (``dest->last_weight``, ip_vs_ctl.c).
    """

    number: int
    address: Address
    port: int
    weight: int
    last_weight: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for a server; *overhead* is 256 * active + inactive flows by server number."""

    client: Address
    port: int
    overhead: Callable[[int], int] = lambda number: 0


@dataclass(frozen=True, slots=True)
class View:
    """A service as the kernel half sees it when it chooses."""

    slots: Slots
    state: State
    flags: frozenset[str]
    parameters: Parameters
    table: Table | None


class Scheduler(Protocol):
    """A member of the family: a module with these names."""

    TABLE_SIZE: int
    """Entries of its table of servers; 0 if it has none."""

    FLAGS: Mapping[str, str]
    """Its own words for scheduler flags, and the flag each stands for."""

    def parameters(self, weights: Sequence[int]) -> Parameters:
        """Return what goes into the service's value."""

    def table(self, servers: Sequence[Entry], fill: Fill = ...) -> Table | None:
        """Return the table of server numbers for *servers*, newest first; None if it has none."""

    def ring(self, weights: Sequence[int]) -> Table | None:
        """Return the places of the servers in the order of the choices; None if choosing needs no ring, or has none."""

    def start(self, weights: Sequence[int]) -> State:
        """Return the state of a service that gets this scheduler now."""

    def carry(self, state: State, old: Slots, new: Slots) -> State:
        """Return the state after the servers *old* became *new*; the same if they are the same."""

    def to_ring(self, state: State, weights: Sequence[int]) -> State:
        """Return the state as the kernel half keeps it beside a ring."""

    def from_ring(self, state: State, weights: Sequence[int]) -> State:
        """Return the state of which `to_ring`, or a choice by the ring, made this one."""

    def choose(self, view: View, ask: Ask) -> tuple[int | None, State]:
        """Return the server's number, or None, and the state after the choice: what the kernel half must do."""
