"""A BPF file system of our own, where maps, programs and links outlive the daemon.

Mounts in the caller's mount namespace and only there: a process that enters a
network namespace by ``ip netns exec`` has a private one, and pins made there
die with it.  Never touches a file system it did not find to be bpffs.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from xlvs.errors import HostError

_MAGIC = 0xCAFE4A11
_MNT_DETACH = 2
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2

_libc = ctypes.CDLL(None, use_errno=True)


def is_mounted(directory: Path) -> bool:
    """Return whether *directory* lies in a bpffs."""
    buffer = ctypes.create_string_buffer(256)  # struct statfs is 120 bytes; f_type comes first
    if _libc.statfs(os.fsencode(directory), buffer) != 0:
        return False
    return ctypes.c_long.from_buffer(buffer).value == _MAGIC


def mount(directory: Path) -> None:
    """Mount a bpffs at *directory*, made if need be, unless one is there.  Raises `HostError`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_mounted(directory):
        return
    if _libc.mount(b"bpf", os.fsencode(directory), b"bpf", ctypes.c_ulong(0), b"mode=0700") != 0:
        why = os.strerror(ctypes.get_errno())
        raise HostError(f"cannot mount a BPF file system at {directory}: {why}; xlvs must run as root")


def purge(directory: Path) -> None:
    """Remove every pin below *directory*, unmount it, and remove it.  No bpffs there: nothing is done."""
    if not is_mounted(directory):
        return
    for base, folders, files in os.walk(directory, topdown=False):
        for name in files:
            if "." not in name:  # maps.debug and progs.debug are the kernel's own; pins have no dots
                os.unlink(os.path.join(base, name))
        for name in folders:
            os.rmdir(os.path.join(base, name))
    if _libc.umount2(os.fsencode(directory), _MNT_DETACH) == 0:
        directory.rmdir()


def exchange(one: Path, other: Path) -> None:
    """Let two names of one bpffs change places, in one step that nobody sees half of (renameat2(2))."""
    if _libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), str(one))


def remove(folder: Path) -> None:
    """Remove a directory of pins; fine if there is none."""
    if not folder.is_dir():
        return
    for pin in folder.iterdir():
        pin.unlink()
    folder.rmdir()


def pin_name(name: str) -> str:
    """Return *name* as bpffs takes it: dots are refused there (kernel/bpf/inode.c), so ``eth0.7`` is ``eth0%2E7``."""
    return name.replace("%", "%25").replace(".", "%2E")
