"""The configuration file of a daemon, and what the state asks of the host.

Reads the file; everything else is decided by `xlvs.config`, which is pure.
"""

from __future__ import annotations

from pathlib import Path

from xlvs import config
from xlvs.daemon.host.interfaces import Wish
from xlvs.errors import HostError
from xlvs.model import Address, State
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


def vips(state: State) -> set[tuple[str, Address]]:
    """Return the virtual addresses that xlvs itself is to add, each with its interface."""
    return {(service.device, key.address) for key, service in state.services.items() if service.device}


def wish(state: State, default: Wish) -> Wish:
    """Return which interfaces to work on: what the state says, or else the command line."""
    if state.interfaces is None:
        return default
    return Wish(default.default, state.interfaces)
