"""What is in the maps, known without asking: built once from what the daemon read, then kept in step by `accept`.

Pure.  A layout read back from the maps equals the one that was kept (tested).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.model import Address, Service, ServiceKey
from xlvs.plan import records as r
from xlvs.plan.numbers import Blocks, Numbers
from xlvs.plan.records import Array

ServerId = tuple[ServiceKey, Address, int]
"""What keeps its number while it is configured or has flows: service, address, port."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much fits into the maps as they were created."""

    services: int
    servers: int
    blocks: int


class Placed(msgspec.Struct, frozen=True):
    """A service in force: where it is, and the *numbers* of its servers, oldest first.

    *value* is its record (``struct xlvs_service``) as bytes.
    """

    service: Service
    id: int
    half: int
    block: int
    numbers: tuple[int, ...]
    value: bytes

    @property
    def blocks(self) -> int:
        """How many consecutive blocks the slots take."""
        return -(-len(self.numbers) // abi.SLOTS_PER_BLOCK)

    @property
    def index(self) -> int:
        """Where ``sched_state`` and ``tables`` of it are."""
        return 2 * self.id + self.half

    @property
    def table_size(self) -> int:
        """How many entries its table has, 0 if it has none."""
        return int(np.frombuffer(self.value, abi.SERVICE)["table_size"][0])

    @property
    def slots(self) -> list[tuple[int, int]]:
        """(server number, weight), newest first, as schedulers take them."""
        return [(n, s.weight) for n, s in zip(self.numbers, self.service.servers, strict=True)][::-1]


@dataclass(slots=True)
class Change:
    """What a plan, once made, has changed in the maps.  *numbers* and *rows* are server rows as they are in the end."""

    placed: dict[ServiceKey, Placed | None]
    numbers: Array
    rows: Array
    retired: dict[ServerId, int]
    addresses: dict[bytes, int]
    nat_puts: dict[bytes, int]
    nat_drops: list[bytes]
    last_weights: dict[ServerId, int]
    option_numbers: Array = field(default_factory=lambda: r.numbers([]))
    options: Array = field(default_factory=lambda: np.zeros(0, abi.OPTIONS))
    """What changes of what few packets need to know about servers, by number."""


class Layout:
    """The services, server rows, blocks and addresses in the maps.  Change it by `accept` and `forget` only."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.services: dict[ServiceKey, Placed] = {}
        self.rows: Array = np.zeros(limits.servers, abi.SERVER)
        """Server rows by number; of protocol 0 where there is none."""
        self.options: Array = np.zeros(limits.servers, abi.OPTIONS)
        self.retired: dict[ServerId, int] = {}
        """Servers that no service has any more, kept for their flows."""
        self.addresses: dict[bytes, int] = {}
        """The flags of each address."""
        self.nat_servers: dict[bytes, int] = {}
        self.last_weights: dict[ServerId, int] = {}
        """Of drained servers: what they weighed before."""
        self.stale: set[bytes] = set()
        """Addresses that may have flags which nothing needs any more."""
        self.free_ids = Numbers(limits.services, "virtual services")
        self.free_numbers = Numbers(limits.servers, "real servers")
        self.free_blocks = Blocks(limits.blocks)
        self._retired_ids: dict[ServiceKey, int] = {}
        self._id_uses: Counter[int] = Counter()

    @classmethod
    def read(
        cls,
        limits: Limits,
        rows: Array,
        options: Array,
        services: Mapping[ServiceKey, Placed],
        addresses: Mapping[bytes, int],
        nat_servers: Mapping[bytes, int],
    ) -> Layout:
        """Build the layout of maps with this content; *rows* and *options* from number 0 on."""
        layout = cls(limits)
        layout.options = options
        used = np.flatnonzero(rows["proto"])
        placed = {n for one in services.values() for n in one.numbers}
        gone = [n for n in used.tolist() if n not in placed]
        layout.accept(
            Change(dict(services), used.astype(np.uint32), rows[used], _ids_of(rows, gone), {}, {}, [], {}),
        )
        layout.addresses, layout.nat_servers = dict(addresses), dict(nat_servers)
        layout.stale = set(layout.addresses)
        return layout

    def number(self, key: ServiceKey, address: Address, port: int) -> int | None:
        """Return the number of this real server, configured or remembered, or None."""
        placed = self.services.get(key)
        for number, server in zip(placed.numbers, placed.service.servers, strict=True) if placed else ():
            if server.key == (address, port):
                return number
        return self.retired.get((key, address, port))

    def service_id(self, key: ServiceKey) -> int | None:
        """Return the id of this service, present or remembered for its flows, or None."""
        placed = self.services.get(key)
        return placed.id if placed else self._retired_ids.get(key)

    def retired_numbers(self) -> set[int]:
        """Return the numbers that no service refers to: deleted, and free once their flows are gone."""
        return set(self.retired.values())

    def needed(self, addresses: Collection[bytes]) -> dict[bytes, int]:
        """Return the flags that services and server rows need *addresses* to have."""
        rows = self.rows[: self.free_numbers.end]
        if len(addresses) <= r.FEW:
            rows = rows[np.logical_or.reduce([r.among(rows, name, addresses) for name in ("addr", "src", "virt")])]
        rows = rows[rows["proto"] != 0]
        nat = rows["fwd"] == r.NAT
        users = (
            ({*r.as_bytes(rows["virt"]), *(key.address for key in self.services)}, r.VIP),
            (set(r.ftp_addresses(rows)), r.FTP),
            (set(r.as_bytes(rows["addr"][nat])), r.SERVER),
            (set(r.as_bytes(rows["src"][~nat])), r.DIRECTOR),
        )
        return {address: sum(flag for known, flag in users if address in known) for address in addresses}

    def server(self, number: int) -> tuple[Address, int] | None:
        """Return address and port of the server *number*, None if there is none."""
        row = self.rows[number]
        return (Address(bytes(row["addr"])), int(row["port"])) if row["proto"] else None

    def accept(self, change: Change) -> None:
        """Take over what a plan has changed."""
        self._replace_rows(change.numbers, change.rows)
        self.options[change.option_numbers] = change.options
        for key, placed in change.placed.items():
            self._replace(key, placed)
        for server, number in change.retired.items():
            self.retired[server] = number
            self._retire_id(server[0], int(self.rows["service"][number]))
        self.addresses.update(change.addresses)
        self.nat_servers.update(change.nat_puts)
        for nat in change.nat_drops:
            self.nat_servers.pop(nat, None)
        self.last_weights.update(change.last_weights)

    def forget(self, servers: Iterable[ServerId]) -> None:
        """Take over that the rows of these retired servers were given back."""
        freed = []
        for server in servers:
            number = self.retired.pop(server)
            self.last_weights.pop(server, None)
            self._release_id(server[0], int(self.rows["service"][number]))
            freed.append(number)
        self._replace_rows(r.numbers(freed), np.zeros(len(freed), abi.SERVER))
        self.free_numbers.give(freed)

    def _replace(self, key: ServiceKey, new: Placed | None) -> None:
        old = self.services.get(key)
        if new:
            self.services[key] = new
            self.free_blocks.take(new.block, new.blocks)
            if old is None:
                self._use_id(key, new.id)
            for server in new.service.servers if self.retired else ():
                if (revived := self.retired.pop((key, *server.key), None)) is not None:
                    self._release_id(key, int(self.rows["service"][revived]))
        elif old:
            del self.services[key]
        if old:
            self.free_blocks.give(old.block, old.blocks)
        if old and not new:
            self._retired_ids[key] = old.id
            self._release_id(key, old.id)

    def _replace_rows(self, numbers: Array, rows: Array) -> None:
        old = self.rows[numbers]
        old = old[old["proto"] != 0]
        for name in ("addr", "src", "virt"):
            self.stale.update(r.as_bytes(old[name]))
        self.rows[numbers] = rows
        self.free_numbers.take(numbers.tolist())

    def _use_id(self, key: ServiceKey, number: int) -> None:
        if not self._id_uses[number]:
            self.free_ids.take([number])
        self._id_uses[number] += 1
        self._retired_ids.pop(key, None)

    def _retire_id(self, key: ServiceKey, number: int) -> None:
        if key not in self.services:
            self._retired_ids[key] = number
        if not self._id_uses[number]:
            self.free_ids.take([number])
        self._id_uses[number] += 1

    def _release_id(self, key: ServiceKey, number: int) -> None:
        self._id_uses[number] -= 1
        if not self._id_uses[number]:
            del self._id_uses[number]
            self._retired_ids.pop(key, None)
            self.free_ids.give([number])
            self.stale.add(key.address)


def _ids_of(rows: Array, numbers: list[int]) -> dict[ServerId, int]:
    """Return who the servers of these numbers are."""
    some = rows[numbers]
    keys = np.zeros(len(some), abi.SERVICE_KEY)
    keys["addr"], keys["port"], keys["proto"] = some["virt"], some["vport"], some["proto"]
    columns = zip(r.read_service_keys(keys), some["addr"].tolist(), some["port"].tolist(), numbers, strict=True)
    return {(key, Address(addr), port): number for key, addr, port, number in columns}
