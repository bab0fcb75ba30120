"""What every scheduler is made of, and what its choices may depend on.

Pure: the words the family shares, nothing that any one member decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """What a scheduler remembers: the place of the last choice, and the current weight of wrr.

    Of lblc and lblcr *cw* is the second of their first choice, which only the kernel half needs.
    """

    pos: int = HEAD
    cw: int = 0


class Load(NamedTuple):
    """The connections of a server; *overloaded* while they were at its upper threshold and not yet below the lower."""

    active: int = 0
    inactive: int = 0
    overloaded: bool = False

    @property
    def overhead(self) -> int:
        """What a server's connections weigh (``ip_vs_dest_conn_overhead``)."""
        return 256 * self.active + self.inactive


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
    """Who asks for a server, and where: the *virtual* address.

    *load* is that of a server by its number, *now* a clock's second, and *draw* says a number below its argument.
    """

    client: Address
    port: int
    load: Callable[[int], Load] = lambda number: Load()
    virtual: Address = Address.parse("192.0.2.1")
    now: int = 0
    draw: Callable[[int], int] = lambda end: 0


@dataclass(slots=True)
class Locality:
    """What lblc and lblcr remember of a virtual address: numbers of servers in the order they came, and two seconds."""

    servers: list[int]
    used: int
    changed: int


@dataclass(frozen=True, slots=True)
class View:
    """A service as the kernel half sees it when it chooses."""

    slots: Slots
    state: State
    flags: frozenset[str]
    parameters: Parameters
    table: Table | None
    localities: dict[Address, Locality] = field(default_factory=dict)
    """The only thing that a choice changes in place."""

    def open(self, ask: Ask) -> list[tuple[int, int]]:
        """Return the slots of the servers that take new connections."""
        return [slot for slot in self.slots if slot[1] and not ask.load(slot[0]).overloaded]


class Scheduler(Protocol):
    """A member of the family: a module with these names."""

    TABLE_SIZE: int
    """Entries of its table of servers; 0 if it has none."""

    FLAGS: Mapping[str, str]
    """Its own words for scheduler flags, and the flag each stands for."""

    def parameters(self, weights: Sequence[int]) -> Parameters:
        """Return what goes into the service's value."""

    def table(self, servers: Sequence[Entry], fill: Fill = ..., size: int = 0) -> Table | None:
        """Return the table of server numbers for *servers*, newest first; None if it has none.

        *size* is another than TABLE_SIZE, for who can have one.
        """

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
