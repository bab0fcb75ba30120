"""Decide the writes that bring one service, or the leftovers of old ones, from what is there to what is wanted.

Pure, and blind to every other service, so a change costs the same in a
director of 10 services as in one of 20,000.  Puts come before drops, and the
service's own value is the last put: until it is written nothing the walk can
see has changed, and with it order, weights, table and scheduler state change at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from xlvs import sched
from xlvs.errors import InvalidError
from xlvs.model import Server, Service, ServiceKey
from xlvs.model.server import Address
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout

Sources = Mapping[Address, Address | None]
"""The director's own address towards each real server."""

ReadState = Callable[[int], tuple[int, int]]
"""Reads a scheduler's word, (position, current weight), at an index of ``sched_state``."""


@dataclass(slots=True)
class _Draft:
    """A plan while it grows: what comes before and after the service's own value, and the rows it replaces."""

    layout: Layout
    puts: list[w.Write]
    drops: list[w.Write]
    rows: dict[int, w.ServerRow | None]

    def put_server(self, number: int, row: w.ServerRow) -> None:
        """Draft a row, unless it is there: a live one before the service's value, a deleted one after."""
        if self.layout.servers.get(number) != row:
            (self.puts if row.live else self.drops).append(w.PutServer(number, row))
            self.rows[number] = row

    def writes(self) -> list[w.Write]:
        """Return the whole plan, with the addresses and the nat servers that go with the drafted rows."""
        puts, drops = _nat_writes(self.layout, self.rows)
        return [*self._addresses(), *puts, *self.puts, *self.drops, *drops]

    def _addresses(self) -> list[w.Write]:
        """Return the address flags to add.  None is taken away here: flows may need it (see `plan_addresses`)."""
        needed: Counter[Address] = Counter()
        for row in self.rows.values():
            for address, flag in row.addresses() if row else ():
                needed[address] |= flag
        for write in self.puts:
            if isinstance(write, w.PutService):
                needed[write.key.address] |= w.ADDRESS_VIP
        present = self.layout.addresses
        return [
            w.PutAddress(address, flags | present.get(address, 0))
            for address, flags in needed.items()
            if flags & ~present.get(address, 0)
        ]


def plan_service(layout: Layout, want: Service, sources: Sources, read_state: ReadState) -> list[w.Write]:
    """Return the writes that put *want* in force; raises `XlvsError` if it does not fit."""
    if len(want.servers) > w.MAX_SERVERS_PER_SERVICE:
        raise InvalidError(f"virtual service {want.key} would have more than {w.MAX_SERVERS_PER_SERVICE} real servers")
    have = layout.services.get(want.key)
    known = have.id if have else layout.service_id(want.key)
    service_id = layout.free_ids.propose(1)[0] if known is None else known
    numbers = _numbers(layout, want)
    draft = _Draft(layout, [], [], {})
    for number, server in zip(numbers, want.servers, strict=True):
        draft.put_server(number, _row(want.key, service_id, server, sources.get(server.address)))
    row = _service_row(want, service_id, numbers)
    if have is None or replace(row, half=have.half, block=have.block) != have:
        _swap(draft, want, have, row, numbers, read_state)
    for number in {number for number, _ in have.slots}.difference(numbers) if have else ():
        draft.put_server(number, replace(layout.servers[number], live=False))
    return draft.writes()


def plan_delete(layout: Layout, key: ServiceKey) -> list[w.Write]:
    """Return the writes that end the service *key*.

    Its real servers stay as they are: flows are looked up before services, so
    they go on until `plan_garbage` finds their server without flows.
    """
    have = layout.services[key]
    return [w.DropService(key), *([w.DropTable(have.index)] if have.table_size else [])]


def plan_garbage(layout: Layout, busy: Collection[int]) -> list[w.Write]:
    """Return the writes that give back the numbers of deleted servers that are not *busy* with flows."""
    numbers = layout.retired().difference(busy)
    _, nat = _nat_writes(layout, dict.fromkeys(numbers))
    return [*nat, *(w.DropServer(number) for number in numbers)]


def plan_addresses(layout: Layout, busy: Collection[int]) -> list[w.Write]:
    """Return the writes that make every address' flags what they must be, once garbage and crashes are behind us.

    A flag that no row asks for is kept while flows may need it: those of a
    server whose forwarding method was changed go on as they began.
    """
    writes: list[w.Write] = []
    for address in layout.used_addresses() | layout.addresses.keys():
        present, needed = layout.addresses.get(address, 0), layout.needed(address)
        if present == needed:
            continue
        flags = needed | (present & _busy_flags(layout, address, busy))
        if flags != present:
            writes.append(w.PutAddress(address, flags) if flags else w.DropAddress(address))
    return writes


def _busy_flags(layout: Layout, address: Address, busy: Collection[int]) -> int:
    """Return the flags of *address* that flows of *busy* servers may need although no row says so."""
    rows = [layout.servers[number] for number in busy if number in layout.servers]
    server = w.ADDRESS_SERVER if any(row.address == address for row in rows) else 0
    return server | (w.ADDRESS_DIRECTOR if rows else 0)


def _nat_writes(layout: Layout, rows: Mapping[int, w.ServerRow | None]) -> tuple[list[w.Write], list[w.Write]]:
    """Return the puts and drops of nat servers that go with replacing *rows* (None: the row goes)."""
    touched = {row.nat_key for row in rows.values() if row and row.nat_key}
    touched |= {key for number in rows if number in layout.servers and (key := layout.servers[number].nat_key)}
    puts: list[w.Write] = []
    drops: list[w.Write] = []
    for key in touched:
        numbers = layout.nat_numbers(key).difference(rows)
        numbers |= {number for number, row in rows.items() if row and row.nat_key == key}
        if not numbers and key in layout.nat_servers:
            drops.append(w.DropNatServer(key))
        elif numbers and layout.nat_servers.get(key) not in numbers:
            puts.append(w.PutNatServer(key, max(numbers)))
    return puts, drops


def _numbers(layout: Layout, want: Service) -> list[int]:
    """Return the number of each server of *want*: its own if it has one, else a free one."""
    known = [layout.number(want.key, s.address, s.port) for s in want.servers]
    fresh = iter(layout.free_numbers.propose(known.count(None)))
    return [next(fresh) if number is None else number for number in known]


def _row(key: ServiceKey, service_id: int, server: Server, src: Address | None) -> w.ServerRow:
    return w.ServerRow(key, service_id, server.address, server.port, server.forward, server.weight, src, live=True)


def _service_row(want: Service, service_id: int, numbers: list[int]) -> w.ServiceRow:
    """Return the service's value, with half and block still to be chosen."""
    slots = tuple((number, server.weight) for number, server in zip(numbers, want.servers, strict=True))[::-1]
    member = sched.get(want.scheduler)
    max_weight, gcd = member.parameters([weight for _, weight in slots])
    return w.ServiceRow(service_id, 0, 0, slots, want.scheduler, want.flags, member.TABLE_SIZE, max_weight, gcd)


def _swap(
    draft: _Draft,
    want: Service,
    have: w.ServiceRow | None,
    row: w.ServiceRow,
    numbers: list[int],
    read_state: ReadState,
) -> None:
    """Draft new slots, table and scheduler state in the half that is not in force, then the service's value."""
    block = draft.layout.free_blocks.propose(row.blocks)
    row = replace(row, half=1 - have.half if have else 0, block=block)
    if row.slots:
        draft.puts.append(w.PutSlots(row.block, row.slots))
    table = sched.get(row.scheduler).table(_entries(draft.layout, want, numbers))
    if table is not None:
        draft.puts.append(w.PutTable(row.index, table))
    draft.puts.append(w.PutSchedState(row.index, *_carried(have, row, read_state)))
    draft.puts.append(w.PutService(want.key, row))
    if have and have.table_size:
        draft.drops.append(w.DropTable(have.index))


def _entries(layout: Layout, want: Service, numbers: list[int]) -> list[sched.Entry]:
    """Return the servers as tables are made from them, newest first."""
    return [
        sched.Entry(n, s.address, s.port, s.weight, s.weight or layout.last_weight((want.key, s.address, s.port)))
        for n, s in zip(reversed(numbers), reversed(want.servers), strict=True)
    ]


def _carried(have: w.ServiceRow | None, row: w.ServiceRow, read_state: ReadState) -> tuple[int, int]:
    """Return the scheduler state to start with: the present one, brought along to the new order."""
    member = sched.get(row.scheduler)
    if have is None or have.scheduler != row.scheduler:
        return member.start([weight for _, weight in row.slots])
    return member.carry(sched.State(*read_state(have.index)), have.slots, row.slots)
