"""The configuration on disk: one snapshot, and a journal of the changes since.

A change appends one line, whole or not at all, so it costs the same with 10
services as with 20,000; when the journal has outgrown the snapshot both become
one new snapshot.  Every record says what a thing *is*, not how it changed, so
that replaying a journal that the snapshot contains already does no harm.
Refuses a snapshot it cannot read: it does not start an empty director over a full one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from xlvs.daemon.host.files import sync_directory, write_whole
from xlvs.daemon.paths import Paths
from xlvs.daemon.upgrade import legacy
from xlvs.errors import HostError, InvalidError, XlvsError
from xlvs.model import Address, Service, ServiceKey, State, codec
from xlvs.model.state import DEFAULT_TIMEOUTS
from xlvs.plan.layout import ServerId

Counters = tuple[int, ...]
LastWeights = Mapping[ServerId, int]

FORMAT = 2
"""Of the snapshot; 1, which has none, is read as well (`xlvs.daemon.upgrade.legacy`)."""

_MIN_JOURNAL = 256 * 1024
"""Bytes a journal may reach before it is worth comparing with the snapshot."""


class Baselines(msgspec.Struct, omit_defaults=True):
    """What counters were when they were last zeroed; subtracted from the maps, which are never written."""

    services: dict[int, Counters] = msgspec.field(default_factory=dict)
    servers: dict[int, Counters] = msgspec.field(default_factory=dict)

    def update(self, other: Baselines) -> None:
        """Take over other, newer baselines."""
        self.services.update(other.services)
        self.servers.update(other.servers)

    def __bool__(self) -> bool:
        return bool(self.services or self.servers)


Weights = list[tuple[ServiceKey, str, int, int]]
"""Service, address, port and last weight of drained servers: the scheduler mh needs them."""


class Record(msgspec.Struct, omit_defaults=True):
    """One line of the journal: one change, all of it."""

    generation: int = 0
    put: list[Service] = []
    drop: list[ServiceKey] = []
    timeouts: dict[str, int] | None = None
    interfaces: dict[str, str] | None | msgspec.UnsetType = msgspec.UNSET
    last_weights: Weights = []
    baselines: Baselines = msgspec.field(default_factory=Baselines)
    sysctls: dict[str, str] | None = None


class Snapshot(msgspec.Struct):
    """The whole configuration."""

    format: int
    generation: int
    services: list[Service]
    timeouts: dict[str, int]
    interfaces: dict[str, str] | None = None
    last_weights: Weights = []
    baselines: Baselines = msgspec.field(default_factory=Baselines)
    sysctls: dict[str, str] = {}


@dataclass(slots=True)
class Kept:
    """What was on disk, if anything was *found*; *last_weights* are the weights that drained servers had before."""

    state: State = field(default_factory=State)
    baselines: Baselines = field(default_factory=Baselines)
    last_weights: dict[ServerId, int] = field(default_factory=dict)
    found: bool = False


class Store:
    """Keeps the state of one instance.  Not for two writers: the daemon holds the instance's lock."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._journal = -1
        self._size = 0
        self._last = 0
        self._limit = _MIN_JOURNAL
        self._is_old = False
        """Whether what is on disk is in the format of an earlier xlvs."""

    def load(self) -> Kept:
        """Return what was kept, empty if nothing was; raises `HostError`."""
        try:
            text = self._paths.state.read_bytes()
        except FileNotFoundError:
            return Kept()
        except OSError as err:
            raise HostError(f"cannot read {self._paths.state}: {err.strerror}") from err
        kept = Kept(found=True)
        try:
            snapshot = _read_snapshot(text)
            self._is_old = snapshot.format < FORMAT
            if snapshot.format > FORMAT:
                raise InvalidError(f"it was written by a newer xlvs, in format {snapshot.format}")
            _take(kept, snapshot.last_weights, snapshot.baselines)
        except (ValueError, TypeError, AttributeError, KeyError, XlvsError) as err:
            raise HostError(f"cannot understand {self._paths.state} ({err}); repair it, or move it away") from err
        kept.state = State(
            {s.key: s for s in snapshot.services},
            {**DEFAULT_TIMEOUTS, **snapshot.timeouts},
            snapshot.interfaces,
            snapshot.generation,
            snapshot.sysctls,
        )
        _replay(self._paths.journal, kept)
        return kept

    def snapshot(self, state: State, baselines: Baselines, last_weights: LastWeights) -> None:
        """Write everything anew and begin an empty journal; raises `HostError`."""
        kept = Snapshot(
            FORMAT,
            state.generation,
            list(state.services.values()),
            state.timeouts,
            state.interfaces,
            weights(last_weights),
            baselines,
            state.sysctls,
        )
        text = codec.encode(kept)
        with _as_host_error(self._paths.state):
            self._paths.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._is_old:
                self._put_aside()
            write_whole(self._paths.state, text)
            self.close()
            # A new file, not the old one emptied: that may have been put aside.
            fresh = self._paths.journal.with_name(f"{self._paths.journal.name}.new")
            self._journal = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            fresh.rename(self._paths.journal)
            sync_directory(self._paths.state_dir)
        self._size, self._limit = 0, max(_MIN_JOURNAL, len(text))

    def _put_aside(self) -> None:
        """Keep what an earlier xlvs wrote, ``state.json.1`` and its journal, for one to go back to."""
        for path in (self._paths.state, self._paths.journal):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(path, f"{path}.1")
        self._is_old = False

    def append(self, record: Record) -> None:
        """Add *record* to the journal and wait until it is on disk; raises `HostError`, and then it is not there."""
        line = codec.encode(record) + b"\n"
        with _as_host_error(self._paths.journal):
            try:
                written = os.write(self._journal, line)
                if written != len(line):
                    raise OSError(28, "no space left on device")
                os.fdatasync(self._journal)
            except OSError:
                self._cut(self._size)
                raise
        self._last, self._size = self._size, self._size + len(line)

    def take_back(self) -> None:
        """Remove the record that was appended last; raises `HostError`."""
        with _as_host_error(self._paths.journal):
            self._cut(self._last)
            os.fdatasync(self._journal)
        self._size = self._last

    def _cut(self, size: int) -> None:
        os.ftruncate(self._journal, size)
        os.lseek(self._journal, size, os.SEEK_SET)

    @property
    def full(self) -> bool:
        """Whether the journal has outgrown the snapshot, so that `snapshot` is due."""
        return self._size > self._limit

    def close(self) -> None:
        """Close the journal."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1


def weights(last_weights: LastWeights) -> Weights:
    """Return last weights as they are kept."""
    return [(key, str(address), port, weight) for (key, address, port), weight in last_weights.items()]


def _read_snapshot(text: bytes) -> Snapshot:
    if text.startswith(b'{"format":'):
        return codec.decode(text, Snapshot)
    return codec.convert(legacy.snapshot(json.loads(text)), Snapshot)


def _read_record(line: bytes) -> Record:
    if line.startswith((b'{"put":{', b'{"drop":{')):
        return codec.convert(legacy.record(json.loads(line)), Record)
    return codec.decode(line, Record)


def _take(kept: Kept, last_weights: Weights, baselines: Baselines) -> None:
    for key, address, port, weight in last_weights:
        kept.last_weights[key, Address.parse(address), port] = weight
    kept.baselines.update(baselines)


def _replay(path: Path, kept: Kept) -> None:
    """Apply the journal up to its first line that is not whole: the one that a crash cut short."""
    services = dict(kept.state.services)
    fields: dict[str, Any] = {}
    with contextlib.suppress(FileNotFoundError), path.open("rb") as lines:
        for line in lines:
            try:
                record = _read_record(line)
            except (ValueError, TypeError, KeyError, XlvsError):
                break
            services.update({service.key: service for service in record.put})
            for key in record.drop:
                services.pop(key, None)
            if record.timeouts is not None:
                fields["timeouts"] = record.timeouts
            if record.sysctls is not None:
                fields["sysctls"] = record.sysctls
            if record.interfaces is not msgspec.UNSET:
                fields["interfaces"] = record.interfaces
            fields["generation"] = max(kept.state.generation, fields.get("generation", 0), record.generation)
            _take(kept, record.last_weights, record.baselines)
    kept.state = replace(kept.state, services=services, **fields)


@contextlib.contextmanager
def _as_host_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise HostError(f"cannot write {path}: {err.strerror}; nothing was changed") from err
