"""Hooks: put a program on an interface, swap it without losing a packet, take it off.

XDP and TCX by a bpf_link pinned at a path, so that the hook outlives the
daemon and its next start swaps the program in place.  Where the kernel has no
TCX, a TC filter does the same without a pin.  Refuses to push another XDP
program off its interface.
"""

from __future__ import annotations

import enum
import errno
import os
import socket
import zlib
from dataclasses import dataclass
from pathlib import Path

from xlvs.dataplane import clsact, syscalls
from xlvs.dataplane.uapi import AttachType
from xlvs.errors import HostError

_XDP_GENERIC, _XDP_NATIVE = 1 << 1, 1 << 2  # XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE


class XdpRefusedError(HostError):
    """The interface takes no native XDP program; TC may be used instead."""


class HookBusyError(XdpRefusedError):
    """Someone else's XDP program is on the interface."""


class Hook(enum.StrEnum):
    """Where a packet meets a program."""

    XDP = "xdp"
    INGRESS = "tc"
    EGRESS = "tc-egress"


_ATTACH = {
    Hook.XDP: AttachType.XDP,
    Hook.INGRESS: AttachType.TCX_INGRESS,
    Hook.EGRESS: AttachType.TCX_EGRESS,
}


@dataclass(frozen=True, slots=True)
class Link:
    """A program on an interface; *how* is ``xdp``, ``tcx`` or ``clsact`` (which has no pin)."""

    hook: Hook
    ifindex: int
    how: str
    pin: Path

    def detach(self) -> None:
        """Take the program off; fine if the interface is gone."""
        detach(self.hook, self.ifindex, self.pin)


def attach(hook: Hook, ifindex: int, prog_fd: int, pin: Path, *, generic: bool = False) -> Link:
    """Put the program on the interface, or swap it in place where *pin* is this hook already.

    *generic* asks for XDP without the driver's help.  Raises `HookBusyError`
    or `XdpRefusedError` when XDP cannot be had, `OSError` (``ENODEV``) when
    the interface is gone.
    """
    how = "xdp" if hook is Hook.XDP else "tcx"
    if _swap(hook, ifindex, prog_fd, pin):
        return Link(hook, ifindex, how, pin)
    try:
        fd = _create(hook, ifindex, prog_fd, generic=generic)
    except OSError as err:
        if hook is Hook.XDP or err.errno != errno.EINVAL:
            raise
        # TCX came with Linux 6.6 (e420bed02507); before, the attach type is unknown.
        clsact.attach(ifindex, prog_fd, _handle(pin), egress=hook is Hook.EGRESS)
        return Link(hook, ifindex, "clsact", pin)
    try:
        pin.parent.mkdir(mode=0o700, exist_ok=True)
        syscalls.obj_pin(fd, pin)
    finally:
        os.close(fd)
    return Link(hook, ifindex, how, pin)


def detach(hook: Hook, ifindex: int, pin: Path) -> None:
    """Take off what `attach` put there; fine if nothing is, or the interface is gone."""
    try:
        fd = syscalls.obj_get(pin)
    except FileNotFoundError:
        if hook is not Hook.XDP:
            clsact.detach(ifindex, _handle(pin), egress=hook is Hook.EGRESS)
        return
    try:
        _drop(fd, pin)
    finally:
        os.close(fd)


def _swap(hook: Hook, ifindex: int, prog_fd: int, pin: Path) -> bool:
    """Update the link pinned at *pin*; False if there is none that is still on this interface."""
    try:
        fd = syscalls.obj_get(pin)
    except FileNotFoundError:
        return False
    try:
        info = syscalls.link_info(fd)
        if info.ifindex == ifindex:
            syscalls.link_update(fd, prog_fd)
            return True
        _drop(fd, pin)
    except OSError as err:
        if err.errno not in (errno.ENOLINK, errno.ENODEV):
            raise
        _drop(fd, pin)
    finally:
        os.close(fd)
    return False


def _drop(fd: int, pin: Path) -> None:
    try:
        syscalls.link_detach(fd)
    except OSError as err:
        if err.errno not in (errno.ENOLINK, errno.ENODEV):
            raise
    pin.unlink(missing_ok=True)


def _create(hook: Hook, ifindex: int, prog_fd: int, *, generic: bool) -> int:
    if hook is not Hook.XDP:
        return syscalls.link_create(prog_fd, ifindex, _ATTACH[hook])
    try:
        return syscalls.link_create(prog_fd, ifindex, AttachType.XDP, _XDP_GENERIC if generic else _XDP_NATIVE)
    except OSError as err:
        if err.errno in (errno.EBUSY, errno.EEXIST):
            raise HookBusyError(f"{_interface(ifindex)} has an XDP program of someone else") from err
        raise XdpRefusedError(f"{_interface(ifindex)} refuses native XDP: {os.strerror(err.errno or 0)}") from err


def _interface(ifindex: int) -> str:
    """Name the interface; raises `OSError` if it is gone, which XDP tells by a mere EINVAL."""
    try:
        return f"interface {socket.if_indextoname(ifindex)}"
    except OSError as err:
        raise OSError(errno.ENODEV, f"interface {ifindex} is gone") from err


def _handle(pin: Path) -> int:
    """Return the filter's number: the same at every start, another one for another instance."""
    return zlib.crc32(os.fsencode(pin)) & 0xFFFF | 1
