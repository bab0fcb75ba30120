"""The configuration on disk: one snapshot, and a journal of the changes since.

A change appends one line, so it costs the same with 10 services as with
20,000; when the journal has outgrown the snapshot both become one new
snapshot.  Every record says what a thing *is*, not how it changed, so that
replaying a journal that the snapshot contains already does no harm.
Refuses a snapshot it cannot read: it does not start an empty director over a full one.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xlvs.daemon.host.files import sync_directory, write_whole
from xlvs.daemon.paths import Paths
from xlvs.errors import HostError, XlvsError
from xlvs.model import ServiceKey, State
from xlvs.model.service import Service
from xlvs.plan.layout import ServerId

Counters = tuple[int, ...]
LastWeights = Mapping[ServerId, int]

_MIN_JOURNAL = 256 * 1024
"""Bytes a journal may reach before it is worth comparing with the snapshot."""


@dataclass(slots=True)
class Baselines:
    """What counters were when they were last zeroed; subtracted from the maps, which are never written."""

    services: dict[int, Counters] = field(default_factory=dict)
    servers: dict[int, Counters] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"services": _texts(self.services), "servers": _texts(self.servers)}

    def update(self, data: dict[str, Any]) -> None:
        """Take over the baselines of a JSON form."""
        self.services.update({int(k): tuple(v) for k, v in data.get("services", {}).items()})
        self.servers.update({int(k): tuple(v) for k, v in data.get("servers", {}).items()})


def _texts(counters: dict[int, Counters]) -> dict[str, list[int]]:
    return {str(number): list(values) for number, values in counters.items()}


@dataclass(slots=True)
class Kept:
    """What was on disk, if anything was *found*; *last_weights* are the weights that drained servers had before."""

    state: State
    baselines: Baselines
    last_weights: dict[ServerId, int]
    found: bool


class Store:
    """Keeps the state of one instance.  Not for two writers: the daemon holds the instance's lock."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._journal = -1
        self._size = 0
        self._limit = _MIN_JOURNAL

    def load(self) -> Kept:
        """Return what was kept, empty if nothing was; raises `HostError`."""
        try:
            text = self._paths.state.read_text()
        except FileNotFoundError:
            return Kept(State(), Baselines(), {}, found=False)
        except OSError as err:
            raise HostError(f"cannot read {self._paths.state}: {err.strerror}") from err
        kept = Kept(State(), Baselines(), {}, found=True)
        try:
            data = json.loads(text)
            kept.state = State.from_json(data)
            kept.baselines.update(data.get("baselines", {}))
            for service in data.get("services", ()):
                _read_last_weights(kept, service)
        except (ValueError, TypeError, AttributeError, KeyError, XlvsError) as err:
            raise HostError(f"cannot understand {self._paths.state} ({err}); repair it, or move it away") from err
        _replay(self._paths.journal, kept)
        return kept

    def snapshot(self, state: State, baselines: Baselines, last_weights: LastWeights) -> None:
        """Write everything anew and begin an empty journal; raises `HostError`."""
        data = state.to_json()
        data["services"] = [_service_json(service, last_weights) for service in state.services.values()]
        text = json.dumps({**data, "baselines": baselines.to_json()}, separators=(",", ":"))
        with _as_host_error(self._paths.state):
            self._paths.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_whole(self._paths.state, text)
            self.close()
            self._journal = os.open(self._paths.journal, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            sync_directory(self._paths.state_dir)
        self._size, self._limit = 0, max(_MIN_JOURNAL, len(text))

    def append(self, record: dict[str, Any]) -> None:
        """Add *record* to the journal and wait until it is on disk; raises `HostError`, and then it is not there."""
        line = (json.dumps(record, separators=(",", ":")) + "\n").encode()
        with _as_host_error(self._paths.journal):
            try:
                written = os.write(self._journal, line)
                if written != len(line):
                    raise OSError(28, "no space left on device")
                os.fdatasync(self._journal)
            except OSError:
                os.ftruncate(self._journal, self._size)
                os.lseek(self._journal, self._size, os.SEEK_SET)
                raise
        self._size += len(line)

    @property
    def full(self) -> bool:
        """Whether the journal has outgrown the snapshot, so that `snapshot` is due."""
        return self._size > self._limit

    def close(self) -> None:
        """Close the journal."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1


def put_service(service: Service, last_weights: LastWeights) -> dict[str, Any]:
    """Return the record of a service as it is now."""
    return {"put": _service_json(service, last_weights)}


def drop_service(key: ServiceKey) -> dict[str, Any]:
    """Return the record of a service that is gone."""
    return {"drop": key.to_json()}


def put_baselines(baselines: Baselines) -> dict[str, Any]:
    """Return the record of counters that were zeroed."""
    return {"baselines": baselines.to_json()}


def _service_json(service: Service, last_weights: LastWeights) -> dict[str, Any]:
    """Return a service's JSON form; drained servers' last weights go along, for the scheduler mh needs them."""
    drained = [(s, (service.key, s.address, s.port)) for s in service.servers if not s.weight]
    weights = [[str(s.address), s.port, last_weights[key]] for s, key in drained if key in last_weights]
    return {**service.to_json(), **({"last_weights": weights} if weights else {})}


def _read_last_weights(kept: Kept, data: dict[str, Any]) -> None:
    for address, port, weight in data.get("last_weights", ()):
        kept.last_weights[ServiceKey.from_json(data), ipaddress.ip_address(address), port] = weight


def _replay(path: Path, kept: Kept) -> None:
    """Apply the journal up to its first line that is not whole: the one that a crash cut short."""
    services = dict(kept.state.services)
    with contextlib.suppress(FileNotFoundError), path.open("rb") as lines:
        for line in lines:
            try:
                record = json.loads(line)
                if "put" in record:
                    service = Service.from_json(record["put"])
                    services[service.key] = service
                    _read_last_weights(kept, record["put"])
                elif "drop" in record:
                    services.pop(ServiceKey.from_json(record["drop"]), None)
                else:
                    kept.baselines.update(record["baselines"])
            except (ValueError, TypeError, KeyError, XlvsError):
                break
    kept.state = replace(kept.state, services=services)


@contextlib.contextmanager
def _as_host_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        raise HostError(f"cannot write {path}: {err.strerror}; nothing was changed") from err
