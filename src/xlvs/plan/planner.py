"""Decide the writes that turn what is there into what is wanted, for any number of services at once.

Pure.  A plan has three parts.  *prepare* puts everything where no packet looks
yet: a service's value holds its next version beside the present one, a server
that goes or comes back has the epoch at which it does.  *commit* ends with one
store of that epoch, which puts all of it in force.  *tidy* removes what nothing
looks at any more.  Cut off before the epoch is stored, nothing has changed;
after it, everything has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import msgspec
import numpy as np

from xlvs import sched
from xlvs.dataplane import _abi as abi
from xlvs.errors import InvalidError
from xlvs.model import MARK, Address, Server, Service, ServiceKey
from xlvs.plan import puts, upkeep
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.layout import Change, Layout, Placed, ServerId
from xlvs.plan.records import Array
from xlvs.plan.upkeep import Sources

Wants = Mapping[ServiceKey, Service | None]
"""What each of some services shall be; None: gone."""

ReadState = Callable[[int], tuple[int, int]]
"""Reads a scheduler's word, (position, current weight), at an index of ``sched_state``."""

_ABSENT = np.zeros((), abi.SERVICE).tobytes()
_SCHEDULERS = {member.label: int(member) for member in abi.Sched}


class _Edit(msgspec.Struct):
    """One service on its way from *have* to *want*."""

    key: ServiceKey
    have: Placed | None
    want: Service | None
    id: int = 0
    block: int = 0
    numbers: tuple[int, ...] = ()
    gone: list[ServerId] = []
    table: Array | None = None

    @property
    def servers(self) -> tuple[Server, ...]:
        return self.want.servers if self.want else ()

    @property
    def weights(self) -> list[int]:
        """Newest first, as schedulers take them."""
        return [server.weight for server in reversed(self.servers)]

    @property
    def half(self) -> int:
        return 1 - self.have.half if self.have else 0

    @property
    def index(self) -> int:
        return 2 * self.id + self.half


@dataclass(slots=True)
class Plan:
    """Ordered writes, and what the layout is after them.  *undo* takes back what *prepare* has done."""

    epoch: int
    prepare: list[w.Write]
    tidy: list[w.Write]
    undo: list[w.Write]
    change: Change
    fresh_servers: list[int]
    """Numbers that get a new owner."""
    fresh_services: list[int]
    _edits: list[_Edit]

    def __bool__(self) -> bool:
        return bool(self.change.placed)

    def commit(self, read_state: ReadState) -> list[w.Write]:
        """Return the writes that put all of it in force; schedulers go on where they are at this moment."""
        edits = [edit for edit in self._edits if edit.want]
        states = [_carried(edit, read_state) for edit in edits]
        writes: list[w.Write] = []
        if edits:
            indices = r.numbers([edit.index for edit in edits])
            writes.append(w.Put("sched_state", indices, np.array(states, abi.SCHED_STATE)))
        return [*writes, w.Turn(self.epoch)]


def plan(layout: Layout, wants: Wants, sources: Sources, epoch: int, fill: sched.Fill = sched.fill) -> Plan:
    """Return the writes that put *wants* in force; raises `XlvsError` if it does not fit.

    *fill* fills the tables of mh.
    """
    edits = [
        _Edit(key, layout.services.get(key), want) for key, want in wants.items() if not _is_there(layout, key, want)
    ]
    _allocate(layout, edits)
    numbers, rows = _server_rows(layout, edits, sources)
    old = layout.rows[numbers]
    differs = (r.as_words(old) != r.as_words(rows)).any(axis=1)
    numbers, rows, old = numbers[differs], rows[differs], old[differs]
    fresh = old["proto"] == 0
    last = _last_weights(layout, edits)
    for edit in edits:
        edit.table = _table(layout, edit, last, fill)
    change = Change(_placed(edits), numbers, rows, _retired(edits), {}, {}, [], last, *_options(layout, edits))
    pending = _pending_lives(rows, old, epoch)
    change.addresses = upkeep.flags_of(layout, _needs(edits, rows))
    change.nat_puts, change.nat_drops = upkeep.nat_changes(layout, numbers, rows, old)
    values = _versions(edits, change, epoch)
    prepare = [
        *puts.put_addresses(change.addresses),
        *puts.put_servers(numbers, pending),
        *puts.put_options(change, layout.rows["proto"] == 0),
        *_put_slots(edits),
        *_put_tables(edits),
        *_put_services(edits, values),
    ]
    tidy = [
        *puts.put_nat(change.nat_puts),
        *_settled(edits, values),
        *puts.put_servers(numbers[pending["life"] != rows["life"]], rows[pending["life"] != rows["life"]]),
        *puts.put_options(change, layout.rows["proto"] != 0),
        *puts.drop_nat(change.nat_drops),
        *puts.drop_tables([edit.have.index for edit in edits if edit.have and edit.have.table_size]),
    ]
    undo = [
        *_unsettled(edits, values),
        *puts.put_servers(numbers, old),
        *puts.drop_tables([edit.index for edit in edits if edit.table is not None]),
    ]
    fresh_ids = [edit.id for edit in edits if edit.want and layout.service_id(edit.key) is None]
    return Plan(epoch, prepare, tidy, undo, change, numbers[fresh].tolist(), fresh_ids, edits)


def _is_there(layout: Layout, key: ServiceKey, want: Service | None) -> bool:
    """Say whether packets are treated already as *want* says."""
    have = layout.services.get(key)
    if have is None or want is None:
        return have is None and want is None
    one, other = have.service, want
    if len(one.servers) != len(other.servers) or _manner(one) != _manner(other):
        return False
    return one.servers is other.servers or all(
        (a.address, a.port, a.forward, a.weight) == (b.address, b.port, b.forward, b.weight)
        and (a.upper, a.lower, a.tunnel_port, a.tunnel_checksum) == (b.upper, b.lower, b.tunnel_port, b.tunnel_checksum)
        for a, b in zip(one.servers, other.servers, strict=True)
    )


def _manner(s: Service) -> tuple[Any, ...]:
    """Return what of a service, its servers aside, packets can tell."""
    return s.scheduler, s.flags, s.persistent, s.persistent and s.mask, s.persistent and s.engine, s.ops, s.table


def _allocate(layout: Layout, edits: Sequence[_Edit]) -> None:
    """Give every edit its id, its block, and numbers: a server its own if it has one, else a free one."""
    wanted = [edit for edit in edits if edit.want]
    known: list[dict[tuple[Address, int], int]] = []
    lacking = lacking_ids = 0
    for edit in wanted:
        if len(edit.servers) > w.MAX_SERVERS_PER_SERVICE:
            raise InvalidError(
                f"virtual service {edit.key} would have more than {w.MAX_SERVERS_PER_SERVICE} real servers"
            )
        numbers = _known_numbers(layout, edit)
        known.append(numbers)
        lacking += len(edit.servers) - sum(s.key in numbers for s in edit.servers) if numbers else len(edit.servers)
        lacking_ids += layout.service_id(edit.key) is None
    fresh, fresh_ids = iter(layout.free_numbers.propose(lacking)), iter(layout.free_ids.propose(lacking_ids))
    blocks = layout.free_blocks.propose([-(-len(edit.servers) // abi.SLOTS_PER_BLOCK) for edit in wanted])
    for edit, numbers, block in zip(wanted, known, blocks, strict=True):
        mine = layout.service_id(edit.key)
        edit.id = next(fresh_ids) if mine is None else mine
        edit.block = block
        if numbers:
            edit.numbers = tuple(numbers[s.key] if s.key in numbers else next(fresh) for s in edit.servers)
        else:
            edit.numbers = tuple(islice(fresh, len(edit.servers)))
    for edit in edits:
        if edit.have:
            edit.id = edit.have.id
            kept = set(edit.numbers)
            edit.gone = [
                (edit.key, s.address, s.port)
                for s, n in zip(edit.have.service.servers, edit.have.numbers, strict=True)
                if n not in kept
            ]


def _known_numbers(layout: Layout, edit: _Edit) -> dict[tuple[Address, int], int]:
    """Return the numbers that servers of this service have, or had and keep for their flows."""
    have = edit.have
    known = {s.key: n for s, n in zip(have.service.servers, have.numbers, strict=True)} if have else {}
    if layout.retired:
        for server in edit.servers:
            number = layout.retired.get((edit.key, *server.key))
            if number is not None:
                known[server.key] = number
    return known


def _server_rows(layout: Layout, edits: Sequence[_Edit], sources: Sources) -> tuple[Array, Array]:
    """Return the numbers and rows of all servers that the edits concern, as they are to be in the end."""
    counts = [len(edit.numbers) for edit in edits]
    servers = list(chain.from_iterable(edit.servers for edit in edits))
    rows = np.zeros(len(servers), abi.SERVER)
    if servers:
        rows["addr"] = r.addresses([s.address for s in servers])
        rows["src"] = _sources(servers, sources)
        rows["port"] = [s.port for s in servers]
        rows["fwd"] = [r.FORWARD_NUMBERS[s.forward] for s in servers]
        keys = np.repeat(r.service_keys([edit.key for edit in edits]), counts)
        rows["virt"], rows["vport"], rows["proto"] = keys["addr"], keys["port"], keys["proto"]
        rows["service"] = np.repeat([edit.id for edit in edits], counts)
        rows["life"] = r.LIVE
        persistent = np.repeat([bool(edit.want and edit.want.persistent) for edit in edits], counts)
        rows["flags"] = np.where(persistent, abi.SERVER_PERSISTENT, 0)
        # ip_vs_sched_persist() translates from the service's port only.
        rows["flags"][persistent & (rows["vport"] == 0)] |= np.uint16(abi.SERVER_ANY_PORT)
        rows["flags"][persistent & np.array([s.weight == 0 for s in servers])] |= np.uint16(abi.SERVER_QUIESCENT)
        rows["flags"][r.speaks_ftp(rows)] |= np.uint16(abi.SERVER_FTP)
        rows["flags"][[i for i, s in enumerate(servers) if s.upper]] |= np.uint16(abi.SERVER_LIMITED)
    numbers = list(chain.from_iterable(edit.numbers for edit in edits))
    # The servers of a service that goes stay live: flows are looked up before services.
    dropped = [
        number
        for edit in edits
        if edit.have and edit.want and edit.gone
        for number in set(edit.have.numbers).difference(edit.numbers)
    ]
    last = layout.rows[dropped]
    last["life"] = 0
    return r.numbers([*numbers, *dropped]), np.concatenate([rows, last], dtype=abi.SERVER)


def _options(layout: Layout, edits: Sequence[_Edit]) -> tuple[Array, Array]:
    """Return the numbers of servers whose options change, and those."""
    servers = [(server, edit.want) for edit in edits if edit.want for server in edit.servers]
    rows = np.zeros(len(servers), abi.OPTIONS)
    for i, (server, service) in enumerate(servers):
        if server.upper or server.lower or service.persistent or server.forward in ("gue", "gre"):
            mask = service.mask if service.persistent else 0
            checksum = r.CHECKSUM_FLAGS[server.tunnel_checksum]
            rows[i] = (server.upper, server.lower, mask, server.tunnel_port, checksum, 0)
    numbers = r.numbers(list(chain.from_iterable(edit.numbers for edit in edits)))
    differs = (r.as_words(rows) != r.as_words(layout.options[numbers])).any(axis=1)
    return numbers[differs], rows[differs]


def _sources(servers: Sequence[Server], sources: Sources) -> Array:
    """Return the director's address towards each server; mostly it is one for all."""
    different = set(sources.values())
    if len(different) == 1:
        return r.addresses([different.pop() or r.NO_ADDRESS])
    return r.addresses([sources.get(s.address) or r.NO_ADDRESS for s in servers])


def _needs(edits: Sequence[_Edit], rows: Array) -> upkeep.Needs:
    """Return the addresses that the services need flags of."""
    servers = chain.from_iterable(edit.servers for edit in edits)
    return (
        (r.VIP, [edit.key.address for edit in edits if edit.want and edit.key.protocol != MARK]),
        (r.FTP, r.ftp_addresses(rows)),
        (r.SERVER, [server.address for server in servers if server.forward == "nat"]),
        (r.DIRECTOR, upkeep.sources_in_use(rows)),
    )


def _pending_lives(rows: Array, old: Array, epoch: int) -> Array:
    """Return *rows* as they are prepared: what was there lives, or not, as before until *epoch*."""
    pending = rows.copy()
    lives = old["life"] & r.LIVE
    turns = (old["proto"] != 0) & (lives != rows["life"])
    pending["life"][turns] = lives[turns] | np.uint32(epoch << abi.LIFE_TURN_SHIFT)
    return pending


def _retired(edits: Sequence[_Edit]) -> dict[ServerId, int]:
    """Return the servers that go, by who they are."""
    found = {}
    for edit in edits:
        if edit.have and edit.gone:
            numbers = {s.key: n for s, n in zip(edit.have.service.servers, edit.have.numbers, strict=True)}
            found.update({server: numbers[server[1:]] for server in edit.gone})
    return found


def _last_weights(layout: Layout, edits: Sequence[_Edit]) -> dict[ServerId, int]:
    """Return what servers that are drained now weighed before."""
    found = {}
    for edit in edits:
        drained = [s for s in edit.servers if not s.weight] if edit.have else []
        if edit.have and drained:
            before = {s.key: s.weight for s in edit.have.service.servers}
            found.update({(edit.key, *s.key): before[s.key] for s in drained if before.get(s.key)})
    return found


def _placed(edits: Sequence[_Edit]) -> dict[ServiceKey, Placed | None]:
    """Return where each service will be."""
    wanted = [(edit, edit.want, sched.get(edit.want.scheduler)) for edit in edits if edit.want]
    values = np.zeros(len(wanted), abi.SERVICE)
    values["index"] = [edit.index for edit, _, _ in wanted]
    values["block"] = [edit.block for edit, _, _ in wanted]
    values["n"] = [len(edit.numbers) for edit, _, _ in wanted]
    values["table_size"] = [0 if edit.table is None else len(edit.table) for edit, _, _ in wanted]
    parameters = [member.parameters([s.weight for s in want.servers]) for _, want, member in wanted]
    values["max_weight"] = [found.max_weight for found in parameters]
    values["gcd"] = [found.gcd for found in parameters]
    values["sched"] = [_SCHEDULERS[want.scheduler] for _, want, _ in wanted]
    values["sched_flags"] = [r.flag_bits(want.flags) for _, want, _ in wanted]
    values["flags"] = [_service_flags(want) for _, want, _ in wanted]
    values["persistent"] = [want.persistent for _, want, _ in wanted]
    values["mask"] = [want.mask if want.persistent else 0 for _, want, _ in wanted]
    values["engine"] = [r.ENGINE_NUMBERS[want.engine] if want.persistent else 0 for _, want, _ in wanted]
    values["present"] = 1
    found: dict[ServiceKey, Placed | None] = {edit.key: None for edit in edits}
    for (edit, want, _), value in zip(wanted, r.as_bytes(values), strict=True):
        found[edit.key] = Placed(want, edit.id, edit.half, edit.block, edit.numbers, value)
    return found


def _service_flags(service: Service) -> int:
    limited = abi.SERVICE_LIMITED if any(server.upper for server in service.servers) else 0
    even = abi.SERVICE_EVEN if len({server.weight for server in service.servers} - {0}) <= 1 else 0
    return limited | even | (abi.SERVICE_OPS if service.ops else 0)


def _versions(edits: Sequence[_Edit], change: Change, epoch: int) -> Array:
    """Return the services' values: as they are, and as they will be at *epoch*."""
    values = np.zeros(len(edits), abi.VERSIONS)
    now = [edit.have.value if edit.have else _ABSENT for edit in edits]
    after = [placed.value if placed else _ABSENT for placed in change.placed.values()]
    values["turn"] = epoch
    values["now"] = np.frombuffer(b"".join(now), abi.SERVICE)
    values["next"] = np.frombuffer(b"".join(after), abi.SERVICE)
    return values


def _settled(edits: Sequence[_Edit], values: Array) -> list[w.Write]:
    """Return the writes that make the next versions the present ones."""
    settled = np.zeros_like(values)
    settled["now"] = values["next"]
    return _put_or_drop(edits, settled)


def _unsettled(edits: Sequence[_Edit], values: Array) -> list[w.Write]:
    """Return the writes that take the next versions back."""
    settled = np.zeros_like(values)
    settled["now"] = values["now"]
    return _put_or_drop(edits, settled)


def _put_or_drop(edits: Sequence[_Edit], values: Array) -> list[w.Write]:
    if not edits:
        return []
    keys = r.service_keys([edit.key for edit in edits])
    present = values["now"]["present"] != 0
    writes: list[w.Write] = [w.Put("services", keys[present], values[present])] if present.any() else []
    return [*writes, w.Drop("services", keys[~present])] if not present.all() else writes


def _put_services(edits: Sequence[_Edit], values: Array) -> list[w.Write]:
    return [w.Put("services", r.service_keys([edit.key for edit in edits]), values)] if edits else []


def _put_slots(edits: Sequence[_Edit]) -> list[w.Write]:
    wanted = [edit for edit in edits if edit.want]
    numbers = np.fromiter(chain.from_iterable(edit.numbers for edit in wanted), np.uint32)
    servers = list(chain.from_iterable(edit.servers for edit in wanted))
    forwards = np.array([r.FORWARD_NUMBERS[s.forward] for s in servers], np.uint32)
    return puts.put_slots(
        [edit.block for edit in wanted],
        [len(edit.numbers) for edit in wanted],
        numbers | forwards << np.uint32(abi.CHOICE_FWD_SHIFT),
        [s.weight for s in servers],
    )


def _choices(edit: _Edit) -> list[int]:
    """Return what leads to each server of the service, oldest first: its number, with its forwarding method above."""
    forwards = r.FORWARD_NUMBERS
    return [
        number | forwards[server.forward] << abi.CHOICE_FWD_SHIFT
        for number, server in zip(edit.numbers, edit.servers, strict=True)
    ]


def _put_tables(edits: Sequence[_Edit]) -> list[w.Write]:
    tables = [(edit.index, edit.table) for edit in edits if edit.table is not None]
    return [w.PutTables([index for index, _ in tables], [table for _, table in tables])] if tables else []


def _table(layout: Layout, edit: _Edit, last: Mapping[ServerId, int], fill: sched.Fill) -> Array | None:
    """Return the table of the service, or its ring; None if it has neither."""
    if edit.want is None:
        return None
    member = sched.get(edit.want.scheduler)
    if member.table_size:
        return member.table(_entries(layout, edit, last), fill, edit.want.table)
    # A server that is overloaded would have to be passed over in the ring again and again: then it is better walked.
    return None if any(server.upper for server in edit.servers) else member.ring(edit.weights)


def _entries(layout: Layout, edit: _Edit, last: Mapping[ServerId, int]) -> list[sched.Entry]:
    """Return the servers as tables are made from them, newest first; drained ones are marked."""
    found = []
    for choice, s in zip(reversed(_choices(edit)), reversed(edit.servers), strict=True):
        server = (edit.key, *s.key)
        weight = s.weight or last.get(server) or layout.last_weights.get(server, 0)
        found.append(sched.Entry(choice if s.weight else choice | abi.DRAINED, s.address, s.port, s.weight, weight))
    return found


def _carried(edit: _Edit, read_state: ReadState) -> tuple[int, int]:
    """Return the scheduler state to start with: the present one, brought along to the new order."""
    assert edit.want
    member = sched.get(edit.want.scheduler)
    state = _followed(edit, member, read_state)
    return state if edit.table is None else member.to_ring(state, edit.weights)


def _followed(edit: _Edit, member: sched.Scheduler, read_state: ReadState) -> sched.State:
    """Return the same, as it is without a ring."""
    have = edit.have
    if have is None or sched.get(have.service.scheduler) is not member:
        return member.start(edit.weights)
    state, old = sched.State(*read_state(have.index)), have.slots
    if have.table_size:
        state = member.from_ring(state, [weight for _, weight in old])
    return member.carry(state, old, list(zip(reversed(edit.numbers), edit.weights, strict=True)))
