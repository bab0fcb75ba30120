"""The few sysctls that xlvs sets, and putting them back.

The old value is on disk before the new one is set, so that a crash in between
loses nothing.  ``/proc/sys/net`` follows the network namespace of the calling thread.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from xlvs.daemon.host import netns
from xlvs.daemon.host.files import write_whole
from xlvs.errors import HostError

_ROOT = Path("/proc/sys")


def path_of(name: str) -> Path:
    """Return the file of a sysctl such as ``net.ipv4.conf.lo.accept_local``; a ``/`` in *name* stands for a dot."""
    return _ROOT / name.translate(str.maketrans("./", "/."))


def read(name: str) -> str | None:
    """Return the value of a sysctl, or None if this kernel or namespace has none."""
    try:
        return path_of(name).read_text().strip()
    except OSError:
        return None


def set_once(name: str, value: str, kept: Path) -> bool:
    """Set a sysctl, keeping the old value in the file *kept*; return whether it was changed.  Raises `HostError`."""
    old = read(name)
    if old is None or old == value:
        return False
    inode, saved = _load(kept)
    here = netns.identity()
    # Values kept for another namespace are of no use: it was purged with its interfaces, or a reboot took it.
    saved = saved if inode == here else {}
    if name not in saved:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(kept, json.dumps({"netns": here, "values": {**saved, name: old}}))
    try:
        path_of(name).write_text(value)
    except OSError as err:
        raise HostError(f"cannot set {name}={value}: {err.strerror}") from err
    return True


def restore(kept: Path) -> list[str]:
    """Put back every value kept in *kept*, in the namespace it is from, and remove the file; return the names.

    Leaves this thread in that namespace.
    """
    inode, saved = _load(kept)
    if saved and netns.enter_by_identity(inode):
        for name, value in saved.items():
            with contextlib.suppress(OSError):  # its interface may be gone
                path_of(name).write_text(value)
    kept.unlink(missing_ok=True)
    return list(saved)


def _load(kept: Path) -> tuple[int, dict[str, str]]:
    try:
        data = json.loads(kept.read_text())
        return int(data["netns"]), dict(data["values"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}
