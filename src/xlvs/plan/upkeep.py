"""Keep addresses, nat servers and numbers in step with what is in force, and give back what nothing needs any more.

Pure.  Unlike a plan's, these writes change no service, so each may be made at
any time; what they do is noted in the layout at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import islice

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.model import Address
from xlvs.plan import puts
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.layout import Change, Layout, ServerId
from xlvs.plan.records import Array

GARBAGE = 10_000
"""How many numbers are given back at a time: what takes a tenth of a second must not be done at once for a million."""

Sources = Mapping[Address, Address | None]
"""The director's own address towards each real server."""


Needs = Iterable[tuple[int, Iterable[bytes]]]
"""Flags, each with the addresses that shall have it."""


def plan_garbage(layout: Layout, busy: Collection[int], limit: int = GARBAGE) -> tuple[list[w.Write], list[ServerId]]:
    """Return the writes that give back the rows of *limit* retired servers without flows (not *busy*), and which."""
    servers = list(islice((server for server, number in layout.retired.items() if number not in busy), limit))
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
    needed = layout.needed(layout.stale)
    changed, drops = {}, []
    for address, need in needed.items():
        present = layout.addresses.get(address, 0)
        flags = need | (present & _busy_flags(layout, address, busy)) if busy and need != present else need
        if flags == need:
            layout.stale.discard(address)
        if flags and flags != present:
            changed[address] = layout.addresses[address] = flags
        elif present and not flags:
            del layout.addresses[address]
            drops.append(address)
    return [*puts.put_addresses(changed), *([w.Drop("addrs", r.addresses(drops))] if drops else [])]


def plan_sources(layout: Layout, sources: Sources) -> list[w.Write]:
    """Return the writes that give every server row the director's address it has in *sources*, and note them."""
    used = np.flatnonzero(layout.rows["proto"])
    old = layout.rows[used]
    rows = old.copy()
    wanted = [sources.get(Address(address)) for address in r.as_bytes(old["addr"])]
    rows["src"] = r.addresses([src or r.NO_ADDRESS for src in wanted])
    differs = rows["src"] != old["src"]
    numbers, rows = used[differs].astype(np.uint32), rows[differs]
    flags = flags_of(layout, ((r.DIRECTOR, sources_in_use(rows)),))
    layout.accept(Change({}, numbers, rows, {}, flags, {}, [], {}))
    return [*puts.put_addresses(flags), *puts.put_servers(numbers, rows)]


def claim(layout: Layout, addresses: Collection[Address]) -> list[w.Write]:
    """Return the writes that make *addresses* virtual ones, and note them."""
    flags: dict[bytes, int] = {address: layout.addresses.get(address, 0) | r.VIP for address in addresses}
    layout.addresses.update(flags)
    layout.stale.update(addresses)
    return puts.put_addresses(flags)


def sources_in_use(rows: Array) -> set[bytes]:
    """Return the director's own addresses that clients on this host appear from to these servers."""
    found = rows["src"][(rows["fwd"] != r.NAT) & (rows["proto"] != 0)]
    return set(r.as_bytes(found)) - {r.NO_ADDRESS}


def flags_of(layout: Layout, needs: Needs) -> dict[bytes, int]:
    """Return the flags of the addresses that lack some of those that *needs* says."""
    present = layout.addresses
    found: dict[bytes, int] = {}
    for flag, addresses in needs:
        for address in addresses:
            flags = present.get(address, 0)
            if not flags & flag:
                found[address] = found.get(address, flags) | flag
    return found


def nat_changes(layout: Layout, numbers: Array, rows: Array, old: Array) -> tuple[dict[bytes, int], list[bytes]]:
    """Return the puts and drops of nat servers that go with *rows* taking the place of *old*."""
    is_nat = (rows["fwd"] == r.NAT) & (rows["life"] != 0) & (rows["proto"] != 0)
    mine = dict(zip(r.as_bytes(r.nat_keys(rows[is_nat])), numbers[is_nat].tolist(), strict=True))
    have = layout.nat_servers
    added = {key: number for key, number in mine.items() if key not in have} if have else mine
    was_nat = (old["fwd"] == r.NAT) & (old["proto"] != 0) & ~is_nat
    lost = [
        key
        for key, number in zip(r.as_bytes(r.nat_keys(old[was_nat])), numbers[was_nat].tolist(), strict=True)
        if layout.nat_servers.get(key) == number
    ]
    if not lost:
        return added, []
    others = _other_nat_servers(layout, numbers, lost)
    others |= {key: mine[key] for key in lost if key in mine}
    added |= {key: others[key] for key in lost if key in others}
    return added, [key for key in lost if key not in added]


def _other_nat_servers(layout: Layout, numbers: Array, keys: list[bytes]) -> dict[bytes, int]:
    """Return the live nat servers that are not among *numbers*; of few *keys* only those with their addresses."""
    rows = layout.rows
    nat = (rows["fwd"] == r.NAT) & (rows["life"] != 0) & (rows["proto"] != 0)
    nat[numbers] = False
    if len(keys) <= r.FEW:
        nat &= r.among(rows, "addr", [key[:16] for key in keys])
    found = np.flatnonzero(nat)
    return dict(zip(r.as_bytes(r.nat_keys(rows[found])), found.tolist(), strict=True))


def _busy_flags(layout: Layout, address: bytes, busy: Collection[int]) -> int:
    """Return the flags of *address* that flows of *busy* servers may need although no row says so."""
    rows = layout.rows[list(busy)]
    rows = rows[rows["proto"] != 0]
    server = r.SERVER if (rows["addr"] == r.addresses([address])).any() else 0
    return server | (r.DIRECTOR if len(rows) else 0)
