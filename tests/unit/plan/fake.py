"""The maps in memory: takes the writes of plans, and says after each one what a packet would find."""

from __future__ import annotations

from xlvs.model import ServiceKey
from xlvs.model.server import Address
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout, Limits


class FakeMaps:
    """What the real maps would hold; `flows` are the flows that a test says a server has."""

    def __init__(self, services: int = 64, servers: int = 256, blocks: int = 64) -> None:
        self.limits = Limits(services, servers, blocks)
        self.services: dict[ServiceKey, w.ServiceRow] = {}
        self.servers: dict[int, w.ServerRow] = {}
        self.slots: dict[int, tuple[int, int]] = {}
        self.tables: dict[int, list[int]] = {}
        self.states: dict[int, tuple[int, int]] = {}
        self.addresses: dict[Address, int] = {}
        self.nat_servers: dict[w.NatKey, int] = {}
        self.flows: dict[int, int] = {}

    def write(self, write: w.Write) -> None:
        """Make one write."""
        match write:
            case w.PutAddress(address, flags):
                self.addresses[address] = flags
            case w.DropAddress(address):
                del self.addresses[address]
            case w.PutServer(number, row):
                assert number < self.limits.servers
                self.servers[number] = row
            case w.DropServer(number):
                assert not self.flows.get(number)
                del self.servers[number]
            case w.PutNatServer(key, number):
                self.nat_servers[key] = number
            case w.DropNatServer(key):
                del self.nat_servers[key]
            case w.PutSlots(block, slots):
                assert block + -(-len(slots) // w.SLOTS_PER_BLOCK) <= self.limits.blocks
                self.slots.update(enumerate(slots, block * w.SLOTS_PER_BLOCK))
            case w.PutTable(index, numbers):
                self.tables[index] = numbers.tolist()
            case w.DropTable(index):
                del self.tables[index]
            case w.PutSchedState(index, pos, cw):
                self.states[index] = (pos, cw)
            case w.PutService(service, value):
                assert value.id < self.limits.services
                self.services[service] = value
            case w.DropService(service):
                del self.services[service]

    def sched_state(self, index: int) -> tuple[int, int]:
        """Return a scheduler's word."""
        return self.states[index]

    def layout(self) -> Layout:
        """Read everything back, as a daemon does that adopts the maps."""
        return Layout.read(self.limits, self.services, self.servers, self.addresses, self.nat_servers)

    def check(self) -> None:
        """Assert what must hold after every single write: whatever a service points at is whole."""
        for key, row in self.services.items():
            assert self.addresses[key.address] & w.ADDRESS_VIP
            first = row.block * w.SLOTS_PER_BLOCK
            assert tuple(self.slots[first + i] for i in range(len(row.slots))) == row.slots
            assert row.index in self.states
            for number, _ in row.slots:
                server = self.servers[number]
                assert server.live
                assert server.key == key
                assert server.service == row.id
                for address, flag in server.addresses():
                    assert self.addresses[address] & flag
            if row.table_size:
                table = self.tables[row.index]
                assert len(table) == row.table_size
                assert set(table) <= {number for number, _ in row.slots} | {0xFFFFFFFF}
        for number, flows in self.flows.items():
            if flows:
                assert self.addresses[self.servers[number].key.address] & w.ADDRESS_VIP

    def shown(self, key: ServiceKey) -> list[tuple[str, int, int]]:
        """Return what the walk finds under *key*, newest first: address, port, weight."""
        row = self.services[key]
        return [(str(self.servers[n].address), self.servers[n].port, weight) for n, weight in row.slots]
