"""Pinned maps of an older layout: what becomes of them, and how their content gets into new maps.

The old programs go on with the old maps; what is filled here is looked at by
nobody yet.  Contents go over field by field, by name, as the type information
of the pinned map says; a field that is new is 0.  Where the meaning changed a
step says so: `STEPS`.  Refuses, in a sentence, what cannot be carried over.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.dataplane import syscalls
from xlvs.dataplane.btf import MapDef, Upgrade
from xlvs.dataplane.maps import Array, Map, PerCpuMap, TableMap
from xlvs.dataplane.uapi import MapType
from xlvs.dataplane.upgrade import schema
from xlvs.errors import HostError

PURGE = "run `xlvs stop --purge`, which ends its flows, and start it again"
_BACK = f"start the xlvs that made it again, or {PURGE}"

_U32 = np.dtype("<u4")

PER_CPU = {MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH}


class Fate(enum.Enum):
    """What a load does with a pinned map."""

    ADOPT = enum.auto()
    CARRY = enum.auto()
    RENEW = enum.auto()


def fate(wanted: MapDef, version: int, fd: int, *, exact: bool) -> Fate:
    """Return what is to be done with the pinned map *fd* of this *version*; raises `HostError` if nothing can be.

    *exact*: its size must be the one that is wanted.
    """
    differences = [] if wanted.upgrade is Upgrade.TABLE else _differences(wanted, fd, exact=exact)
    if version > wanted.schema:
        raise HostError(
            f"the pinned map {wanted.name} was made by a newer xlvs (layout {version}, this one knows "
            f"{wanted.schema}): {_BACK}"
        )
    if wanted.upgrade is Upgrade.TABLE:
        if version == wanted.schema and (found := _differences(wanted, fd, exact=False)):
            raise HostError(f"the pinned map {wanted.name} has {found[0]}: {PURGE}")
        same = version == wanted.schema and (not exact or syscalls.map_info(fd).max_entries == wanted.max_entries)
        return Fate.ADOPT if same else Fate.RENEW
    if wanted.upgrade is Upgrade.CACHE:
        same = version == wanted.schema and not _differences(wanted, fd, exact=True)
        return Fate.ADOPT if same else Fate.RENEW
    if version == wanted.schema:
        if differences:
            raise HostError(f"the pinned map {wanted.name} has {differences[0]}: {PURGE}")
        more = wanted.upgrade is Upgrade.COUNTS and syscalls.map_info(fd).max_entries < wanted.max_entries
        return Fate.CARRY if more else Fate.ADOPT
    if wanted.upgrade is Upgrade.COUNTS:
        return Fate.RENEW
    if wanted.upgrade is Upgrade.USER:
        return Fate.CARRY
    raise HostError(
        f"the pinned map {wanted.name} has layout {version}, this xlvs writes layout {wanted.schema} and cannot carry "
        f"over a map that packets change meanwhile ({', '.join(differences) or 'its meaning changed'}): {_BACK}"
    )


def size(wanted: MapDef, fd: int, *, asked: bool) -> int:
    """Return how many entries the new map has: unless *asked* otherwise, as many as the old one has."""
    have = syscalls.map_info(fd).max_entries
    if asked or wanted.upgrade is Upgrade.CACHE:
        return wanted.max_entries
    if wanted.upgrade is Upgrade.TABLE and wanted.name not in ("loads", "overheads"):
        return wanted.max_entries
    return max(have, wanted.max_entries) if wanted.upgrade is Upgrade.COUNTS else have


def _differences(wanted: MapDef, fd: int, *, exact: bool) -> list[str]:
    """Say in what the pinned map is not the wanted one."""
    info = syscalls.map_info(fd)
    have = {"type": info.type, "key size": info.key_size, "value size": info.value_size, "flags": info.flags}
    want = {"type": wanted.type, "key size": wanted.key_size, "value size": wanted.value_size, "flags": wanted.flags}
    if exact:
        have["size"], want["size"] = info.max_entries, wanted.max_entries
    return [f"{what} {have[what]}, not {value}" for what, value in want.items() if have[what] != value]


TABLE_BEFORE = {"flows", "flow_index", "flow_free", "flow_table"}
"""The maps of the flow table that xlvs had up to 0.2, beside ``loads``."""


def open_map(name: str, fd: int) -> Map:
    """Return the pinned map *fd* in the layout that the kernel was told of."""
    key, value = schema.layout(fd)
    return Map(name, fd, key, value if value is not None else np.dtype((np.void, syscalls.map_info(fd).value_size)))


class Old:
    """The pinned maps as they are, each in its own layout; *fds* by name."""

    def __init__(self, fds: Mapping[str, int]) -> None:
        self._fds = fds
        self._read: dict[str, tuple[Array, Any]] = {}

    def items(self, name: str) -> tuple[Array, Any]:
        """Return all keys and values of a map; per-CPU values have one column per CPU."""
        if name not in self._read:
            self._read[name] = _content(name, self._fds[name])
        return self._read[name]


def _content(name: str, fd: int) -> tuple[Array, Any]:
    type_ = syscalls.map_info(fd).type
    if type_ == MapType.ARRAY_OF_MAPS:  # the kernel takes no types of these, but numbers they always were
        return _tables(TableMap(name, fd, _U32, MapDef(f"{name}_inner", MapType.ARRAY, 1, 0, 0, 0, 4, 4, None)))
    key, value = schema.layout(fd)
    if value is None:
        raise HostError(f"the kernel does not know the layout of the pinned map {name}: {_BACK}")
    return (PerCpuMap if type_ in PER_CPU else Map)(name, fd, key, value).items()


def _tables(tables: TableMap) -> tuple[Array, list[Array]]:
    found = {index: table for index in range(tables.max_entries) if (table := tables.table(index)) is not None}
    return np.array(list(found), np.uint32), list(found.values())


Step = Callable[[Array, Any, Old], tuple[Array, Any]]
"""Takes keys and values of one version, and all pinned maps; returns the keys and values of the next version."""


def carry(wanted: MapDef, version: int, old: Old, new: Map) -> None:
    """Fill *new* with what the pinned map of this *version* holds; raises `HostError` if it does not fit."""
    try:
        keys, values = old.items(wanted.name)
        for step in (STEPS[wanted.name, n] for n in range(version, wanted.schema) if (wanted.name, n) in STEPS):
            keys, values = step(keys, values, old)
        if isinstance(new, TableMap):
            new.put_tables(keys.tolist(), values)
        elif isinstance(new, PerCpuMap):
            for key, value in zip(keys, values, strict=True):
                new.put(key, value)
        else:
            new.write_at(fit(keys, new.key_dtype), fit(values, new.value_dtype))
    except (OSError, ValueError) as err:
        why = err.strerror if isinstance(err, OSError) else err
        raise HostError(
            f"the pinned map {wanted.name} cannot be carried over from layout {version} to {wanted.schema} ({why}): "
            f"{_BACK}"
        ) from err


def fit(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return *values* in another layout, field by field; raises `ValueError` for a value that would not be the same."""
    if values.dtype == dtype:
        return values
    if dtype.names is None or values.dtype.names is None:
        if values.dtype.kind not in "iu" or dtype.kind not in "iu":
            raise ValueError(f"{values.dtype} is not {dtype}")
        out = values.astype(dtype)
        if (out != values).any():
            raise ValueError("a number is too large")
        return out
    out = np.zeros(values.shape, dtype)
    for name in dtype.names:
        if name in values.dtype.names:
            field = fit(values[name], out[name].dtype)
            if any(have > room for have, room in zip(field.shape, out[name].shape, strict=True)):
                raise ValueError(f"{name} has fewer places")
            out[name][tuple(slice(n) for n in field.shape)] = field
    return out


def _services_from_1(keys: Array, values: Array, old: Old) -> tuple[Array, Array]:
    """Give every service its second version, which it has not yet; two numbers became one index."""
    same = ["block", "n", "table_size", "max_weight", "gcd", "sched", "sched_flags"]
    now = [(name, values.dtype[name]) for name in same]
    found = np.zeros(len(values), [("now", [("index", "<u4"), ("present", "u1"), *now])])
    for name in same:
        found["now"][name] = values[name]
    found["now"]["index"] = _indices(values)
    found["now"]["present"] = 1
    return keys, found


def _servers_from_1(keys: Array, values: Array, old: Old) -> tuple[Array, Array]:
    """Make a life of the flag that said whether the server is configured."""
    same = [name for name in values.dtype.names or () if name != "flags"]
    found = np.zeros(len(values), [*((name, values.dtype[name]) for name in same), ("life", "<u4")])
    for name in same:
        found[name] = values[name]
    found["life"] = values["flags"] & 1
    return keys, found


def _slots_from_1(keys: Array, values: Array, old: Old) -> tuple[Array, Array]:
    """Let places say how to get to a server, which its row said before."""
    slots = values["slot"]
    found = np.zeros(slots.shape, [("choice", "<u4"), ("weight", "<u4")])
    found["choice"] = _choices(slots["server"], _forwards(old))
    found["weight"] = slots["weight"]
    blocks = np.zeros(len(values), [("slot", found.dtype, slots.shape[1:])])
    blocks["slot"] = found
    return keys, blocks


def _tables_from_1(keys: Array, tables: list[Array], old: Old) -> tuple[Array, list[Array]]:
    """Let entries say how to get to a server, and whether its weight is 0; tables that no service has stay behind."""
    by_index = dict(zip(keys.tolist(), tables, strict=True))
    _, services = old.items("services")
    _, blocks = old.items("slots")
    places = blocks["slot"].reshape(-1)
    forwards, found = _forwards(old), {}
    for service, index in zip(services, _indices(services).tolist(), strict=True):
        if not service["table_size"] or index not in by_index:
            continue
        table, first = by_index[index], int(service["block"]) * abi.SLOTS_PER_BLOCK
        mine = places[first : first + int(service["n"])]
        choices = _choices(table, forwards)
        choices[np.isin(table, mine["server"][mine["weight"] == 0])] |= np.uint32(abi.DRAINED)
        choices[table == abi.NO_SERVER] = abi.NO_SERVER
        found[index] = choices
    return np.array(list(found), np.uint32), list(found.values())


def _indices(services: Array) -> Array:
    """Return where scheduler state and table of services of version 1 are."""
    found: Array = 2 * services["id"] + services["half"]
    return found


def _forwards(old: Old) -> Array:
    """Return how packets get to each server of version 1, in the bits of a choice."""
    _, rows = old.items("servers")
    found: Array = rows["fwd"].astype(np.uint32) << np.uint32(abi.CHOICE_FWD_SHIFT)
    return found


def _choices(numbers: Array, forwards: Array) -> Array:
    """Return what leads to servers of these numbers."""
    found: Array = numbers | forwards[np.minimum(numbers, len(forwards) - 1)]
    return found


STEPS: Mapping[tuple[str, int], Step] = {
    ("services", 1): _services_from_1,
    ("servers", 1): _servers_from_1,
    ("slots", 1): _slots_from_1,
    ("tables", 1): _tables_from_1,
}
"""By map, and version before."""
