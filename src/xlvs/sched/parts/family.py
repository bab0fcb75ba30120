"""What every scheduler is made of, and what its choices may depend on.

Pure: the words the family shares, nothing that any one member decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
