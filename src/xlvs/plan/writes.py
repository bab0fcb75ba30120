"""The words a plan is made of: each is one change of one map, as a frozen value.

Numbers, halves and blocks are those of ``bpf/abi.h``.  Nothing here decides or
does anything; `xlvs.plan.planner` decides, the daemon does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xlvs.model import ServiceKey
from xlvs.model.server import Address

SLOTS_PER_BLOCK = 16
MAX_SERVERS_PER_SERVICE = 1024
"""``XLVS_SLOTS_PER_BLOCK * XLVS_SERVICE_BLOCKS``."""

NatKey = tuple[Address, int, str]
"""Address, port and protocol of a nat server: what a reply comes from."""

ADDRESS_VIP = 1
ADDRESS_SERVER = 2
ADDRESS_DIRECTOR = 4


@dataclass(frozen=True, slots=True)
class ServerRow:
    """What ``servers[number]`` says: one real server of one service, configured (*live*) or remembered for its flows.

    *src* is the director's own address towards it, None if there is none.
    """

    key: ServiceKey
    service: int
    address: Address
    port: int
    forward: str
    weight: int
    src: Address | None
    live: bool

    def addresses(self) -> list[tuple[Address, int]]:
        """Return the addresses that must reach the walk while this row exists, each with its ``ADDRESS_*`` flag."""
        if self.forward == "nat":
            return [(self.key.address, ADDRESS_VIP), (self.address, ADDRESS_SERVER)]
        own = [(self.src, ADDRESS_DIRECTOR)] if self.src else []
        return [(self.key.address, ADDRESS_VIP), *own]

    @property
    def nat_key(self) -> NatKey | None:
        """What replies come from, for a configured nat server."""
        return (self.address, self.port, self.key.protocol) if self.live and self.forward == "nat" else None


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """What ``services[key]`` says, with the slots it points at: (server number, weight), newest first."""

    id: int
    half: int
    block: int
    slots: tuple[tuple[int, int], ...]
    scheduler: str
    flags: frozenset[str]
    table_size: int = 0
    max_weight: int = 0
    gcd: int = 0

    @property
    def blocks(self) -> int:
        """How many consecutive blocks the slots take."""
        return -(-len(self.slots) // SLOTS_PER_BLOCK)

    @property
    def index(self) -> int:
        """Where ``sched_state`` and ``tables`` of this half are."""
        return 2 * self.id + self.half


@dataclass(frozen=True, slots=True)
class PutAddress:
    """Set the flags of an address."""

    address: Address
    flags: int


@dataclass(frozen=True, slots=True)
class DropAddress:
    """Forget an address: its packets pass untouched from now on."""

    address: Address


@dataclass(frozen=True, slots=True)
class PutServer:
    """Set a server's row."""

    number: int
    row: ServerRow


@dataclass(frozen=True, slots=True)
class DropServer:
    """Give a server's number back; no flow may refer to it."""

    number: int


@dataclass(frozen=True, slots=True)
class PutNatServer:
    """Say which server number replies from an address and port belong to when they have no flow."""

    key: NatKey
    number: int


@dataclass(frozen=True, slots=True)
class DropNatServer:
    """Forget a nat server's address and port."""

    key: NatKey


@dataclass(frozen=True, slots=True)
class PutSlots:
    """Fill consecutive blocks with (server number, weight); no service may refer to them yet."""

    block: int
    slots: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PutTable:
    """Load a table of server numbers; no service may refer to it yet."""

    index: int
    numbers: np.ndarray = field(compare=False)


@dataclass(frozen=True, slots=True)
class DropTable:
    """Forget a table that no service refers to any more."""

    index: int


@dataclass(frozen=True, slots=True)
class PutSchedState:
    """Set the scheduler's word of a half that is not in force yet."""

    index: int
    pos: int
    cw: int


@dataclass(frozen=True, slots=True)
class PutService:
    """Put a service in force: everything prepared before takes effect at once."""

    key: ServiceKey
    row: ServiceRow


@dataclass(frozen=True, slots=True)
class DropService:
    """Stop opening new flows for a key; the flows it has go on."""

    key: ServiceKey


Write = (
    PutAddress
    | DropAddress
    | PutServer
    | DropServer
    | PutNatServer
    | DropNatServer
    | PutSlots
    | PutTable
    | DropTable
    | PutSchedState
    | PutService
    | DropService
)
