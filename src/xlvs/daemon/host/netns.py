"""Namespaces and the bpffs mount: where the pins live, and which network the daemon works in.

A bpffs that is mounted inside ``ip netns exec`` belongs to a mount namespace
that dies with its last process, pins and programs with it.  So the mount is
made first, where the caller is, and only the *network* namespace is entered
afterwards; a mount that would die with the daemon is refused.
"""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from typing import NamedTuple

from xlvs.dataplane import bpffs
from xlvs.errors import HostError

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter(netns: str) -> None:
    """Move this thread, and those it starts, into the network namespace *netns*.

    *netns* is a name as ``ip netns`` shows it, a path, or ``pid:N``.  Raises `HostError`.
    """
    path = _netns_path(netns)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as err:
        raise HostError(f"there is no network namespace {netns} ({path}: {err.strerror})") from err
    try:
        if _libc.setns(fd, _CLONE_NEWNET):
            raise HostError(f"cannot enter the network namespace {netns}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)


def identity() -> int:
    """Return the inode of this thread's network namespace: what tells namespaces apart."""
    return os.stat("/proc/thread-self/ns/net").st_ino


def enter_by_identity(inode: int) -> bool:
    """Move into the namespace with this `identity`, if it is ours already or has a name; return whether it worked."""
    if identity() == inode:
        return True
    for path in Path("/run/netns").glob("*"):
        if path.stat().st_ino == inode:
            enter(str(path))
            return True
    return False


def _netns_path(netns: str) -> Path:
    if match := re.fullmatch(r"pid:(\d+)", netns):
        return Path(f"/proc/{match[1]}/ns/net")
    return Path(netns) if "/" in netns else Path("/run/netns") / netns


def prepare_bpffs(path: Path) -> bool:
    """See to a bpffs at *path* that outlives this process; return whether it was missing.  Raises `HostError`."""
    here, outside = _mounts("self"), _mounts("1")
    # A copied mount namespace numbers its mounts anew, so another number of "/" tells that ours is private.
    # (/proc/1/ns/mnt would say the same, but needs ptrace rights over pid 1.)  In a chroot "/" is no mount, and
    # nothing can be told; there the caller knows what it mounts.
    private = "/" in outside and "/" in here and here["/"].id != outside["/"].id
    if private and (str(path) not in outside or here.get(str(path), _NONE).device != outside[str(path)].device):
        raise HostError(
            f"this process has a mount namespace of its own (ip netns exec makes one), and a bpffs mounted here would "
            f"die with it: use `xlvs daemon --netns NAME`, or first run, outside of it, "
            f"`mkdir -p {path} && mount -t bpf bpf {path}`"
        )
    missing = not bpffs.is_mounted(path)
    bpffs.mount(path)
    return missing


class _Mount(NamedTuple):
    id: int
    device: str


_NONE = _Mount(0, "")


def _mounts(process: str) -> dict[str, _Mount]:
    """Return what is mounted where, as *process* sees it (proc(5), mountinfo); empty if we may not know."""
    try:
        lines = Path(f"/proc/{process}/mountinfo").read_text().splitlines()
    except OSError:
        return {}
    fields = (line.split() for line in lines)
    return {where: _Mount(int(number), device) for number, _, device, _, where, *_ in fields}
