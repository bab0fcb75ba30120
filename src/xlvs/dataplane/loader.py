"""Put the compiled programs and their maps into the kernel, or adopt those that are there.

Maps with the same name in several objects are one map.  Everything is pinned
below one directory of a bpffs: ``maps/NAME`` outlives every daemon and is
adopted by the next, programs are loaded afresh each time and pinned at
``progs/NAME``.  Global variables live with their program and are never pinned.
A pinned map of an older layout is carried over into a new one, or refused
(`migrate`); what is pinned is replaced as a whole, in one step (`schema`).
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlvs.dataplane import syscalls
from xlvs.dataplane.assemble import Assembler
from xlvs.dataplane.btf import OPAQUE, MapDef, Upgrade
from xlvs.dataplane.elf import Object
from xlvs.dataplane.maps import Map, PerCpuMap, TableMap
from xlvs.dataplane.uapi import MAP_RDONLY_PROG, AttachType, MapType, ProgInfo, ProgSpec, ProgType, Run
from xlvs.dataplane.upgrade import migrate
from xlvs.dataplane.upgrade.migrate import Fate
from xlvs.dataplane.upgrade.schema import SCHEMA, Pinned, Pins
from xlvs.errors import HostError, InvalidError

OBJECTS = Path(__file__).parent / "objects"
"""Where the build puts the compiled programs."""


class _Kind(NamedTuple):
    type: ProgType
    attach_type: int
    flags: int


_SECTIONS = {
    "xdp": _Kind(ProgType.XDP, AttachType.XDP, 0),
    "xdp.frags": _Kind(ProgType.XDP, AttachType.XDP, 1 << 5),  # BPF_F_XDP_HAS_FRAGS
    "tc": _Kind(ProgType.SCHED_CLS, 0, 0),
}

# The kernel wants to know the types of these maps' values when they hold a
# timer or a lock, and takes no type information for the others.
_TYPED = {
    MapType.HASH,
    MapType.ARRAY,
    MapType.PERCPU_HASH,
    MapType.PERCPU_ARRAY,
    MapType.LRU_HASH,
    MapType.LRU_PERCPU_HASH,
    MapType.LPM_TRIE,
}


@dataclass(frozen=True, slots=True)
class Program:
    """A loaded program."""

    name: str
    fd: int
    type: ProgType

    @property
    def info(self) -> ProgInfo:
        """What the kernel says about it."""
        return syscalls.prog_info(self.fd)

    def test_run(self, data: bytes, *, ctx: bytes = b"", repeat: int = 1, flags: int = 0) -> Run:
        """Run it on one packet without a network (BPF_PROG_TEST_RUN)."""
        return syscalls.prog_test_run(self.fd, data, ctx=ctx, repeat=repeat, flags=flags)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is in the kernel now.

    *adopted* names the maps that have the content of pinned ones, *carried* those of them that are new for it.
    *left* are the maps of flow tables before this one, by name, whose flows nobody has taken over yet.
    """

    maps: dict[str, Any]
    programs: dict[str, Program]
    adopted: frozenset[str] = frozenset()
    carried: frozenset[str] = frozenset()
    pins: Pins | None = None
    left: Sequence[Mapping[str, Map]] = ()
    previous: Mapping[str, int] = field(default_factory=dict)
    """Descriptors of the programs that are pinned, by name, when there is a table *left*."""

    def commit(self) -> None:
        """Make the maps and programs the pinned ones, all at once; before, an older xlvs can still take over."""
        if self.pins:
            self.pins.commit()

    def finish(self) -> None:
        """Unpin what only the programs before used; call it when they are on no interface any more."""
        if self.pins:
            self.pins.finish()

    def close(self) -> None:
        """Close all descriptors; what is pinned or attached lives on."""
        maps = [*self.maps.values(), *(m for table in self.left for m in table.values())]
        syscalls.close([m.fd for m in maps] + [p.fd for p in self.programs.values()] + list(self.previous.values()))


class Loader:
    """Loads *objects*, paths of compiled programs.

    *sizes* overrides ``max_entries`` by map name; an adopted map must then have
    that size, otherwise it keeps the size it has.  *constants* sets ``const
    volatile`` variables by name.
    """

    def __init__(
        self,
        objects: Sequence[Path],
        *,
        sizes: Mapping[str, int] | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> None:
        self._objects = [Object(path.read_bytes(), opaque=OPAQUE) for path in objects]
        self._sizes = dict(sizes or {})
        self._constants = dict(constants or {})
        known = {name for obj in self._objects for name in obj.btf.maps()}
        if unknown := sorted(set(self._sizes) - known):
            raise InvalidError(f"no map is called {unknown[0]!r} (there are: {', '.join(sorted(known))})")
        known = {name for obj in self._objects for name in obj.btf.variables(".rodata")}
        if unknown := sorted(set(self._constants) - known):
            raise InvalidError(f"no constant is called {unknown[0]!r} (there are: {', '.join(sorted(known))})")

    def load(
        self, directory: Path | None = None, *, programs: Collection[str] | None = None, commit: bool = True
    ) -> Loaded:
        """Create or adopt the maps, load the programs, pin both below *directory* (None: pin nothing).

        *programs* limits loading to these names.  Without *commit* all is ready, but nothing is pinned before
        `Loaded.commit`.  Raises `HostError` when the kernel or the pinned maps do not suit, `LoadError` with the
        verifier's log; then what is pinned is what it was.
        """
        _lift_memory_limit()
        found = _Found(Pinned(directory) if directory else None)
        found.judge_table(self._wanted_table())
        loaded: dict[str, Program] = {}
        specs: list[ProgSpec] = []
        open_fds: list[int] = []
        try:
            for obj in self._objects:
                btf_fd = syscalls.btf_load(obj.fixed_btf())
                open_fds.append(btf_fd)
                self._load_maps(obj, btf_fd, found)
                data = self._load_data(obj, open_fds)
                specs += self._specs(obj, btf_fd, found.maps, data, programs)
            found.carry()
            found.keep_table(Pinned(directory, "maps-new") if directory else None)
            loaded = _verify(specs)
        except BaseException:
            Loaded(found.maps, loaded, left=found.left).close()
            raise
        finally:
            syscalls.close([*open_fds, *found.old.values()])
        made = found.loaded(directory, loaded)
        if commit:
            made.commit()
            made.finish()
        return made

    def _wanted_table(self) -> Iterator[tuple[MapDef, bool]]:
        """Yield the maps of the flow table, and whether the caller chose their size."""
        for obj in self._objects:
            for name, wanted in obj.btf.maps().items():
                if wanted.upgrade is Upgrade.TABLE:
                    size = self._sizes.get(name, wanted.max_entries)
                    yield replace(wanted, max_entries=size), name in self._sizes

    def _load_maps(self, obj: Object, btf_fd: int, found: _Found) -> None:
        for name, wanted in obj.btf.maps().items():
            if name in found.maps:
                continue
            asked = name in self._sizes
            wanted = replace(wanted, max_entries=self._sizes.get(name, wanted.max_entries))
            fate = found.fate(wanted, exact=asked)
            if fate is Fate.ADOPT:
                fd = found.old.pop(name)
            else:
                if name in found.old:
                    wanted = replace(wanted, max_entries=migrate.size(wanted, found.old[name], asked=asked))
                fd = _create(wanted, btf_fd)
            found.maps[name] = _typed(obj, wanted, fd)
            found.wanted[name] = wanted

    def _load_data(self, obj: Object, open_fds: list[int]) -> dict[str, int]:
        """Create the maps behind global variables; return their descriptors by section."""
        found = {}
        for section in obj.data_sections():
            content = bytearray(section.data)
            for name, (type_id, _) in obj.btf.variables(section.name).items():
                if name in self._constants:
                    value = np.asarray(self._constants[name], obj.btf.dtype(type_id)).tobytes()
                    at = next(s.value for s in obj.symbols if s.name == name and s.section == section.index)
                    content[at : at + len(value)] = value
            constant = section.name.startswith(".rodata")
            flags = MAP_RDONLY_PROG if constant else 0
            fd = syscalls.map_create(MapType.ARRAY, 4, len(content), 1, flags=flags, name=section.name)
            open_fds.append(fd)
            syscalls.map_update(fd, bytes(4), content)
            if constant:
                syscalls.map_freeze(fd)
            found[section.name] = fd
        return found

    def _specs(
        self, obj: Object, btf_fd: int, maps: Mapping[str, Map], data: Mapping[str, int], only: Collection[str] | None
    ) -> Iterator[ProgSpec]:
        """Yield the programs of one object, linked."""
        assembler = Assembler(obj, {name: m.fd for name, m in maps.items()}, data)
        for function in obj.functions():
            kind = _SECTIONS.get(obj.sections[function.section].name)
            if kind is None or (only is not None and function.name not in only):
                continue
            code = assembler.program(function)
            yield ProgSpec(
                function.name,
                kind.type,
                code.insns,
                obj.license(),
                attach_type=kind.attach_type,
                flags=kind.flags,
                btf_fd=btf_fd,
                func_info=code.func_info,
                func_info_size=code.func_info_size,
                line_info=code.line_info,
                line_info_size=code.line_info_size,
            )


@dataclass(slots=True)
class _Found:
    """The maps of a load while it goes on: what is pinned, and what becomes of it."""

    pinned: Pinned | None
    maps: dict[str, Any] = field(default_factory=dict)
    wanted: dict[str, MapDef] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)
    old: dict[str, int] = field(default_factory=dict)
    """Descriptors of pinned maps that are not adopted as they are."""
    renews_table: bool = False
    left: list[dict[str, Map]] = field(default_factory=list)

    def judge_table(self, wanted: Iterable[tuple[MapDef, bool]]) -> None:
        """Find out whether the maps of the flow table are adopted: all of them, or none."""
        for one, asked in wanted:
            if self.pinned is None or one.name not in self.pinned.versions:
                continue
            fd = self.pinned.open(one.name)
            try:
                fate = migrate.fate(one, self.pinned.versions[one.name], fd, exact=asked)
            finally:
                os.close(fd)
            self.renews_table |= fate is Fate.RENEW

    def fate(self, wanted: MapDef, *, exact: bool) -> Fate | None:
        """Return what becomes of the pinned map of this name, None if there is none."""
        if wanted.name == SCHEMA:
            raise InvalidError(f"no map can be called {SCHEMA!r}, which says what the others are")
        if self.pinned is None or wanted.name not in self.pinned.versions:
            return None
        fd = self.old[wanted.name] = self.pinned.open(wanted.name)
        fate = migrate.fate(wanted, self.pinned.versions[wanted.name], fd, exact=exact)
        if wanted.upgrade is Upgrade.TABLE and self.renews_table:
            fate = Fate.RENEW
        self.fates[wanted.name] = fate
        return fate

    def keep_table(self, aside: Pinned | None) -> None:
        """Keep hold of flow tables that are not adopted: the pinned one, and one that an earlier start left *aside*."""
        for pinned in (aside, self.pinned):
            if pinned is None:
                continue
            fresh = {name: one for name, one in self.wanted.items() if one.upgrade is Upgrade.TABLE}
            if pinned is self.pinned and self._with(Fate.ADOPT) >= fresh.keys():
                continue
            names = pinned.versions.keys() & (fresh.keys() | migrate.TABLE_BEFORE)
            if table := {name: migrate.open_map(name, pinned.open(name)) for name in sorted(names)}:
                self.left.append(table)

    def carry(self) -> None:
        """Fill new maps with what the old ones hold."""
        old = migrate.Old({name: m.fd for name, m in self.maps.items() if name not in self.old} | self.old)
        for name in self._with(Fate.CARRY):
            assert self.pinned
            migrate.carry(self.wanted[name], self.pinned.versions[name], old, self.maps[name])

    def loaded(self, directory: Path | None, programs: dict[str, Program]) -> Loaded:
        """Return all of it, ready to be pinned below *directory*."""
        carried = self._with(Fate.CARRY)
        pins = None
        if directory is not None and self.pinned:
            versions = {name: wanted.schema for name, wanted in self.wanted.items()}
            adopted = self._with(Fate.ADOPT)
            same = self.pinned.complete and adopted == versions.keys() == self.pinned.versions.keys()
            fds = {name: m.fd for name, m in self.maps.items()}
            pins = Pins(directory, fds, {name: p.fd for name, p in programs.items()}, versions, changed=not same)
        previous = _pinned_programs(directory) if directory is not None and self.left else {}
        return Loaded(self.maps, programs, self._with(Fate.ADOPT) | carried, carried, pins, self.left, previous)

    def _with(self, fate: Fate) -> frozenset[str]:
        return frozenset(name for name, found in self.fates.items() if found is fate)


def _pinned_programs(directory: Path) -> dict[str, int]:
    folder = directory / "progs"
    return {pin.name: syscalls.obj_get(pin) for pin in folder.iterdir()} if folder.is_dir() else {}


def _verify(specs: Sequence[ProgSpec]) -> dict[str, Program]:
    """Load all programs, as many at a time as there are CPUs: the verifier takes up to seconds for each."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(syscalls.prog_load, spec) for spec in specs]
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        syscalls.close([future.result() for future in futures if not future.exception()])
        raise errors[0]
    return {
        spec.name: Program(spec.name, future.result(), spec.type) for spec, future in zip(specs, futures, strict=True)
    }


def _lift_memory_limit() -> None:
    """Before Linux 5.11 maps counted against RLIMIT_MEMLOCK (64 KiB); a container may forbid raising it."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def _create(wanted: MapDef, btf_fd: int) -> int:
    inner_fd = _create(wanted.inner, btf_fd) if wanted.inner else 0
    btf = (btf_fd, wanted.key, wanted.value) if wanted.type in _TYPED and wanted.key else (0, 0, 0)
    try:
        return syscalls.map_create(
            wanted.type,
            wanted.key_size,
            wanted.value_size,
            wanted.max_entries,
            flags=wanted.flags,
            name=wanted.name,
            inner_fd=inner_fd,
            btf=btf,
        )
    except OSError as err:
        raise HostError(
            f"the kernel cannot make the map {wanted.name} with {wanted.max_entries} entries: {err.strerror}"
        ) from err
    finally:
        if inner_fd:
            os.close(inner_fd)


def _typed(obj: Object, wanted: MapDef, fd: int) -> Map:
    key = obj.btf.dtype(wanted.key) if wanted.key else None
    if wanted.inner:
        return TableMap(wanted.name, fd, key, wanted.inner)
    kind = PerCpuMap if wanted.type in migrate.PER_CPU else Map
    value = obj.btf.dtype(wanted.value) if wanted.value else np.dtype((np.void, wanted.value_size))
    return kind(wanted.name, fd, key, value)
