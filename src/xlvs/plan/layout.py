"""What is in the maps, kept in step by replaying every write that was made.

Pure: built once from what the daemon read, then changed by `note` only.  The
same writes always give the same layout, so a layout read back from the maps
equals the one that was kept (tested).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xlvs.model import ServiceKey
from xlvs.model.server import Address
from xlvs.plan import writes as w
from xlvs.plan.numbers import Blocks, Numbers

ServerId = tuple[ServiceKey, Address, int]
"""What keeps its number while it is configured or has flows: service, address, port."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much fits into the maps as they were created."""

    services: int
    servers: int
    blocks: int


class Layout:
    """The services, server numbers, blocks and addresses in the maps.  Change it by `note` only."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.services: dict[ServiceKey, w.ServiceRow] = {}
        self.servers: dict[int, w.ServerRow] = {}
        self.addresses: dict[Address, int] = {}
        self.nat_servers: dict[w.NatKey, int] = {}
        self.placed: set[int] = set()
        self.last_weights: dict[ServerId, int] = {}
        self.free_ids = Numbers(limits.services, "virtual services")
        self.free_numbers = Numbers(limits.servers, "real servers")
        self.free_blocks = Blocks(limits.blocks)
        self._numbers: dict[ServerId, int] = {}
        self._id_uses: Counter[int] = Counter()
        self._key_ids: dict[ServiceKey, int] = {}
        self._address_uses: Counter[tuple[Address, int]] = Counter()
        self._nat_numbers: defaultdict[w.NatKey, set[int]] = defaultdict(set)

    @classmethod
    def read(
        cls,
        limits: Limits,
        services: Mapping[ServiceKey, w.ServiceRow],
        servers: Mapping[int, w.ServerRow],
        addresses: Mapping[Address, int],
        nat_servers: Mapping[w.NatKey, int],
    ) -> Layout:
        """Build the layout of maps with this content."""
        layout = cls(limits)
        for number, row in servers.items():
            layout.note(w.PutServer(number, row))
        for key, service in sorted(services.items(), key=lambda item: item[1].block):
            layout.note(w.PutService(key, service))
        layout.addresses = dict(addresses)
        layout.nat_servers = dict(nat_servers)
        return layout

    def number(self, key: ServiceKey, address: Address, port: int) -> int | None:
        """Return the number of this real server, configured or remembered, or None."""
        return self._numbers.get((key, address, port))

    def service_id(self, key: ServiceKey) -> int | None:
        """Return the id of this service, present or remembered for its flows, or None."""
        return self._key_ids.get(key)

    def last_weight(self, server: ServerId) -> int:
        """Return the last weight of a server that was not 0; 0 if it never had one."""
        return self.last_weights.get(server, 0)

    def retired(self) -> set[int]:
        """Return the numbers that no service refers to: deleted, and free once their flows are gone."""
        return self.servers.keys() - self.placed

    def needed(self, address: Address) -> int:
        """Return the flags that services and server rows need *address* to have."""
        flags = (w.ADDRESS_VIP, w.ADDRESS_SERVER, w.ADDRESS_DIRECTOR)
        return sum(flag for flag in flags if self._address_uses[address, flag])

    def nat_numbers(self, key: w.NatKey) -> set[int]:
        """Return the numbers of the configured nat servers with this address, port and protocol."""
        return self._nat_numbers.get(key, set())

    def used_addresses(self) -> set[Address]:
        """Return every address that something in the maps needs."""
        return {address for address, _ in self._address_uses}

    def note(self, write: w.Write) -> None:
        """Take over one write that was made."""
        match write:
            case w.PutServer(number, new):
                self._drop_server(number)
                self._put_server(number, new)
            case w.DropServer(number):
                row = self.servers[number]
                self.last_weights.pop((row.key, row.address, row.port), None)
                self._drop_server(number)
                self.free_numbers.give(number)
            case w.PutService(service, value):
                self._drop_service(service)
                self._put_service(service, value)
            case w.DropService(service):
                self._drop_service(service)
            case w.PutAddress(address, flags):
                self.addresses[address] = flags
            case w.DropAddress(address):
                self.addresses.pop(address, None)
            case w.PutNatServer(key, number):
                self.nat_servers[key] = number
            case w.DropNatServer(key):
                self.nat_servers.pop(key, None)

    def _put_server(self, number: int, row: w.ServerRow) -> None:
        self.servers[number] = row
        self._numbers[row.key, row.address, row.port] = number
        if row.weight:
            self.last_weights[row.key, row.address, row.port] = row.weight
        self.free_numbers.take(number)
        self._count(row.addresses(), 1)
        self._use_id(row.key, row.service)
        if row.nat_key:
            self._nat_numbers[row.nat_key].add(number)

    def _drop_server(self, number: int) -> None:
        row = self.servers.pop(number, None)
        if row is None:
            return
        del self._numbers[row.key, row.address, row.port]
        self._count(row.addresses(), -1)
        self._release_id(row.key, row.service)
        if row.nat_key:
            self._nat_numbers[row.nat_key].discard(number)
            if not self._nat_numbers[row.nat_key]:
                del self._nat_numbers[row.nat_key]

    def _put_service(self, key: ServiceKey, row: w.ServiceRow) -> None:
        self.services[key] = row
        self.free_blocks.take(row.block, row.blocks)
        self.placed.update(number for number, _ in row.slots)
        self._count([(key.address, w.ADDRESS_VIP)], 1)
        self._use_id(key, row.id)

    def _drop_service(self, key: ServiceKey) -> None:
        row = self.services.pop(key, None)
        if row is None:
            return
        self.free_blocks.give(row.block, row.blocks)
        self.placed.difference_update(number for number, _ in row.slots)
        self._count([(key.address, w.ADDRESS_VIP)], -1)
        self._release_id(key, row.id)

    def _use_id(self, key: ServiceKey, service: int) -> None:
        self._key_ids[key] = service
        self._id_uses[service] += 1
        self.free_ids.take(service)

    def _release_id(self, key: ServiceKey, service: int) -> None:
        self._id_uses[service] -= 1
        if not self._id_uses[service]:
            del self._id_uses[service], self._key_ids[key]
            self.free_ids.give(service)

    def _count(self, uses: Iterable[tuple[Address, int]], by: int) -> None:
        for use in uses:
            self._address_uses[use] += by
            if not self._address_uses[use]:
                del self._address_uses[use]
