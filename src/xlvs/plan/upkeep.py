"""Keep addresses, nat servers and numbers in step with what is in force, and give back what nothing needs any more.

Pure.  Unlike a plan's, these writes change no service, so each may be made at
any time; what they do is noted in the layout at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.model import Address
from xlvs.plan import puts
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.layout import Change, Layout, ServerId
from xlvs.plan.records import Array

Sources = Mapping[Address, Address | None]
"""The director's own address towards each real server."""


def plan_garbage(layout: Layout, busy: Collection[int]) -> tuple[list[w.Write], list[ServerId]]:
    """Return the writes that give back the rows of retired servers that are not *busy* with flows, and which."""
    servers = [server for server, number in layout.retired.items() if number not in busy]
    numbers = r.numbers([layout.retired[server] for server in servers])
    old = layout.rows[numbers]
    nat, drops = nat_changes(layout, numbers, np.zeros(len(numbers), abi.SERVER), old)
    layout.nat_servers.update(nat)
    for key in drops:
        layout.nat_servers.pop(key, None)
    return [
        *puts.put_nat(nat),
        *puts.drop_nat(drops),
        *puts.put_servers(numbers, np.zeros(len(numbers), abi.SERVER)),
    ], servers


def plan_addresses(layout: Layout, busy: Collection[int]) -> list[w.Write]:
    """Return the writes that take back the flags of addresses that nothing needs, and note them.

    A flag that no row asks for is kept while flows may need it: those of a
    server whose forwarding method was changed go on as they began.
    """
    writes: list[w.Write] = []
    for address in list(layout.stale):
        present, needed = layout.addresses.get(address, 0), layout.needed(address)
        flags = needed | (present & _busy_flags(layout, address, busy))
        if flags == needed:
            layout.stale.discard(address)
        if flags == present:
            continue
        if flags:
            layout.addresses[address] = flags
            writes += puts.put_addresses({address: flags})
        else:
            layout.addresses.pop(address, None)
            writes.append(w.Drop("addrs", r.addresses([address])))
    return writes


def plan_sources(layout: Layout, sources: Sources) -> list[w.Write]:
    """Return the writes that give every server row the director's address it has in *sources*, and note them."""
    used = np.flatnonzero(layout.rows["proto"])
    old = layout.rows[used]
    rows = old.copy()
    wanted = [sources.get(address) for address in old["addr"].tolist()]
    rows["src"] = r.addresses([src or r.NO_ADDRESS for src in wanted])
    differs = rows["src"] != old["src"]
    numbers, rows = used[differs].astype(np.uint32), rows[differs]
    flags = flags_of(layout, rows, {})
    layout.accept(Change({}, numbers, rows, {}, flags, {}, [], {}))
    return [*puts.put_addresses(flags), *puts.put_servers(numbers, rows)]


def claim(layout: Layout, addresses: Collection[Address]) -> list[w.Write]:
    """Return the writes that make *addresses* virtual ones, and note them."""
    flags = {address: layout.addresses.get(address, 0) | r.VIP for address in addresses}
    layout.addresses.update(flags)
    layout.stale.update(addresses)
    return puts.put_addresses(flags)


def flags_of(layout: Layout, rows: Array, found: dict[Address, int]) -> dict[Address, int]:
    """Return the flags of addresses that lack some which *rows*, or what is in *found*, need."""
    present = layout.addresses
    nat = rows["fwd"] == r.NAT
    for addresses, flag in ((rows["addr"][nat].tolist(), r.SERVER), (rows["src"][~nat].tolist(), r.DIRECTOR)):
        for address in addresses:
            if not present.get(address, 0) & flag and address != r.NO_ADDRESS:
                found[address] = found.get(address, 0) | flag
    return {
        Address(address): flags | present.get(Address(address), 0)
        for address, flags in found.items()
        if flags & ~present.get(Address(address), 0)
    }


def nat_changes(layout: Layout, numbers: Array, rows: Array, old: Array) -> tuple[dict[bytes, int], list[bytes]]:
    """Return the puts and drops of nat servers that go with *rows* taking the place of *old*."""
    is_nat = (rows["fwd"] == r.NAT) & (rows["life"] != 0) & (rows["proto"] != 0)
    mine = dict(zip(r.as_bytes(r.nat_keys(rows[is_nat])), numbers[is_nat].tolist(), strict=True))
    added = {key: number for key, number in mine.items() if layout.nat_servers.get(key) is None}
    changed = {key: number for key, number in mine.items() if key not in added}
    was_nat = (old["fwd"] == r.NAT) & (old["proto"] != 0) & ~is_nat
    lost = [
        key
        for key, number in zip(r.as_bytes(r.nat_keys(old[was_nat])), numbers[was_nat].tolist(), strict=True)
        if layout.nat_servers.get(key) == number
    ]
    if not lost:
        return added, []
    others = _other_nat_servers(layout, numbers)
    added.update({key: changed.get(key) or others[key] for key in lost if key in changed or key in others})
    return added, [key for key in lost if key not in added]


def _other_nat_servers(layout: Layout, numbers: Array) -> dict[bytes, int]:
    """Return the live nat servers that are not among *numbers*."""
    rows = layout.rows
    nat = (rows["fwd"] == r.NAT) & (rows["life"] != 0) & (rows["proto"] != 0)
    nat[numbers] = False
    found = np.flatnonzero(nat)
    return dict(zip(r.as_bytes(r.nat_keys(rows[found])), found.tolist(), strict=True))


def _busy_flags(layout: Layout, address: Address, busy: Collection[int]) -> int:
    """Return the flags of *address* that flows of *busy* servers may need although no row says so."""
    rows = layout.rows[list(busy)]
    rows = rows[rows["proto"] != 0]
    server = r.SERVER if (rows["addr"] == r.addresses([address])).any() else 0
    return server | (r.DIRECTOR if len(rows) else 0)
