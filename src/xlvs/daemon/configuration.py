"""The configuration file of a daemon, and what the state asks of the host.

Reads the file; everything else is decided by `xlvs.config`, which is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from xlvs import config
from xlvs.daemon.host.interfaces import Wish
from xlvs.errors import HostError
from xlvs.model import MARK, TUNNELS, Address, Match, Server, Service, ServiceKey, State
from xlvs.plan.admission import admit


def owner_of(path: Path) -> str:
    """Return the owner of what the file at *path* defines."""
    return f"config:{path}"


def read(path: Path, have: State) -> State:
    """Return the state in which all that is the file's is as the file at *path* says; raises `XlvsError`."""
    try:
        text = path.read_text()
    except OSError as err:
        raise HostError(f"cannot read {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise HostError(f"cannot read {path}: it is not UTF-8 (byte {err.start})") from err
    document = config.load(text, filename=str(path), owner=owner_of(path))
    for service in document.services:
        admit(service)
    return config.merge(have, document, owner_of(path))


class Watch:
    """Notices that a file is another one, or says something else, once it has stayed so for a look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = self._looks()
        self._before = self._known

    def look(self) -> bool:
        """Return whether the file has changed since it was last told, and not since the last look."""
        now, before = self._looks(), self._before
        self._before = now
        if now is None or now == self._known or now != before:
            return False
        self._known = now
        return True

    def _looks(self) -> tuple[int, ...] | None:
        """Return what tells versions apart; None: the file is not there, which it may be while it is replaced."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Needs:
    """What the services need of the host and of the programs, kept up by a look at those that change.

    *segments*: their large packets cannot be wrapped as they are (docs/tunnels.md).  *engines*: they go by the Call-ID.
    *marked*: Netfilter marks their packets.  *matches*: xlvs does, by these rules.  *vips*: the virtual addresses that
    xlvs itself is to add, with the interface.
    """

    def __init__(self) -> None:
        self.segments: set[ServiceKey] = set()
        self.engines: set[ServiceKey] = set()
        self.marked: set[ServiceKey] = set()
        self.matches: dict[ServiceKey, tuple[Match, ...]] = {}
        self.vips: dict[ServiceKey, tuple[str, Address]] = {}

    def follow(self, services: Mapping[ServiceKey, Service], keys: Iterable[ServiceKey] | None = None) -> None:
        """Take *services*, of which *keys* may be others than before; None: any."""
        if keys is None:
            self.__init__()  # type: ignore[misc]
            keys = services
        for key in keys:
            for kind in (self.segments, self.engines, self.marked):
                kind.discard(key)
            self.matches.pop(key, None)
            self.vips.pop(key, None)
            if service := services.get(key):
                self._look_at(key, service)

    def _look_at(self, key: ServiceKey, service: Service) -> None:
        if any(_needs_segments(key, server) for server in service.servers):
            self.segments.add(key)
        if service.engine:
            self.engines.add(key)
        if service.match:
            self.matches[key] = service.match
        elif key.protocol == MARK:
            self.marked.add(key)
        if service.device:
            self.vips[key] = service.device, key.address


def _needs_segments(key: ServiceKey, server: Server) -> bool:
    return server.tunnel_checksum != "none" or (server.forward in TUNNELS and key.protocol == "sctp")


def wish(state: State, default: Wish) -> Wish:
    """Return which interfaces to work on: what the state says, or else the command line."""
    if state.interfaces is None:
        return default
    return Wish(default.default, state.interfaces)
