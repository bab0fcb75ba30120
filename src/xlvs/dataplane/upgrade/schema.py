"""Which layout each pinned map has, written down where the maps are pinned.

A directory ``maps`` of pins is one generation: maps, and among them a frozen
map ``schema`` that says of each, by name, the version of its layout (bpf/maps.h).
The next generation is pinned at ``maps-new``; then the two directories change
places by one rename.  So maps and versions belong together at every moment, and
a process that is killed leaves one whole generation or the other.  Maps of xlvs
0.1 have no ``schema``: all of them are of version 1.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from xlvs.dataplane import bpffs, syscalls
from xlvs.dataplane.btf import OPAQUE, Btf
from xlvs.dataplane.maps import Map
from xlvs.dataplane.uapi import MapType
from xlvs.errors import HostError

SCHEMA = "schema"
"""The name that no map of the programs can have."""

FIRST = 1
"""The version of every layout of xlvs 0.1, whose ``config`` says that its ABI is 1."""

_NAME = np.dtype("S64")
_VERSION = np.dtype("<u4")


class Pinned:
    """The maps that are pinned in a *folder* of *directory*; *versions* says of each which version its layout has.

    Raises `HostError` when that cannot be known.
    """

    def __init__(self, directory: Path, folder: str = "maps") -> None:
        self.folder = directory / folder
        names = {pin.name for pin in self.folder.iterdir()} if self.folder.is_dir() else set()
        self.complete = not names or SCHEMA in names
        """Whether the versions are written down."""
        if not self.complete:
            _require_first_release(self.folder / "config")
        recorded = _read(self.folder / SCHEMA) if SCHEMA in names else {}
        self.versions = {name: recorded.get(name, FIRST) for name in names - {SCHEMA}}

    def open(self, name: str) -> int:
        """Return a descriptor of this map."""
        return syscalls.obj_get(self.folder / name)


class Pins:
    """What is to be pinned below *directory*: maps and programs by name.

    *versions* are those of the maps; *changed* says whether they differ from what is pinned.
    """

    def __init__(
        self,
        directory: Path,
        maps: Mapping[str, int],
        programs: Mapping[str, int],
        versions: Mapping[str, int],
        *,
        changed: bool,
    ) -> None:
        self._directory = directory
        self._maps = maps
        self._programs = programs
        self._versions = versions
        self._changed = changed

    def commit(self) -> None:
        """Make maps and programs the pinned ones; what was pinned before stays aside until `finish`."""
        maps, aside = self._directory / "maps", self._directory / "maps-new"
        if self._changed:
            bpffs.remove(aside)
            aside.mkdir(mode=0o700)
            for name, fd in self._maps.items():
                syscalls.obj_pin(fd, aside / name)
            _write(aside / SCHEMA, self._versions)
            if maps.is_dir():
                bpffs.exchange(maps, aside)
            else:
                aside.rename(maps)
            self._changed = False
        self._pin_programs()

    def finish(self) -> None:
        """Unpin what nothing uses any more: maps of the generation before, and programs that are not of this build."""
        bpffs.remove(self._directory / "maps-new")
        for pin in (self._directory / "progs").iterdir():
            if pin.name not in self._programs:
                pin.unlink()

    def _pin_programs(self) -> None:
        folder = self._directory / "progs"
        folder.mkdir(mode=0o700, exist_ok=True)
        for name, fd in self._programs.items():
            aside = folder / f"{name}-new"
            aside.unlink(missing_ok=True)
            syscalls.obj_pin(fd, aside)
            aside.rename(folder / name)


def layout(fd: int) -> tuple[np.dtype[np.void] | None, np.dtype[np.void] | None]:
    """Return the dtypes of a map's keys and values as the kernel was told them; None: it was told nothing."""
    info = syscalls.map_info(fd)
    if not info.btf_id:
        return None, None
    btf = Btf(syscalls.btf_data(info.btf_id), opaque=OPAQUE)
    return btf.dtype(info.key_type), btf.dtype(info.value_type)


def _read(pin: Path) -> dict[str, int]:
    found = Map(SCHEMA, syscalls.obj_get(pin), _NAME, _VERSION)
    try:
        names, versions = found.items()
    finally:
        found.close()
    return {name.decode(): int(version) for name, version in zip(names.tolist(), versions, strict=True)}


def _write(pin: Path, versions: Mapping[str, int]) -> None:
    fd = syscalls.map_create(MapType.HASH, _NAME.itemsize, _VERSION.itemsize, max(len(versions), 1), name=SCHEMA)
    try:
        Map(SCHEMA, fd, _NAME, _VERSION).write_at([name.encode() for name in versions], list(versions.values()))
        syscalls.map_freeze(fd)
        syscalls.obj_pin(fd, pin)
    finally:
        os.close(fd)


def _require_first_release(config: Path) -> None:
    """Refuse maps without versions that are not those of xlvs 0.1 (0: it did not come to write its number)."""
    if not config.exists():
        return
    fd = syscalls.obj_get(config)
    try:
        key, value = layout(fd)
        record = Map("config", fd, key, value).get(0) if value is not None and value.names else None
    finally:
        os.close(fd)
    if record is None or "abi" not in record.dtype.names or record["abi"] > FIRST:
        raise HostError(
            "the pinned maps are of an xlvs that was never released, and do not say which layouts they have: "
            "stop xlvs with --purge, which ends its flows, and start it again"
        )
