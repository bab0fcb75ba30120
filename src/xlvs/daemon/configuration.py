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


def vips(state: State) -> set[tuple[str, Address]]:
    """Return the virtual addresses that xlvs itself is to add, each with its interface."""
    return {(service.device, key.address) for key, service in state.services.items() if service.device}


def wish(state: State, default: Wish) -> Wish:
    """Return which interfaces to work on: what the state says, or else the command line."""
    if state.interfaces is None:
        return default
    return Wish(default.default, state.interfaces)
