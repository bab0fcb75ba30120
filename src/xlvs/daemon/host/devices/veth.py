"""Pairs of veth devices of our own: made when something needs one, and taken away by a purge.

The messages are those of include/uapi/linux/if_link.h and veth.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

from xlvs.daemon.host import rtnetlink
from xlvs.daemon.host.rtnetlink import Channel, attribute

_NEWLINK, _DELLINK = 16, 17
_IFINFO = struct.Struct("=BxHiII")
_IFF_UP = 0x1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINKINFO, _IFLA_GSO_MAX_SEGS, _IFLA_GSO_MAX_SIZE = 1, 3, 4, 18, 40, 41
_IFLA_INFO_KIND, _IFLA_INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_NO_ADDRESS = "1"  # IN6_ADDR_GEN_MODE_NONE, include/uapi/linux/if_link.h

MTU = 65535
"""No packet is too long for these devices."""

_MAX_SIZE, _MAX_SEGMENTS = 65536, 65535
"""What the kernel gives a veth itself."""

_SMALL = (1, 321)
"""The largest GSO packet of a device that is to have none, or where the kernel insists on it the least that it takes.

That is one more than MAX_TCP_HEADER, which is 320 at most (include/net/tcp.h; net/core/rtnetlink.c, ifla_policy).
"""


def make(into: str, out: str, mac: bytes, *, cut: bool = False) -> tuple[int, int]:
    """Make the pair unless it is there, up and without addresses; return the indices of the two ends.

    *mac* is that of *out*; with *cut* the GSO packets that go into *into* come out in segments.
    Raises `OSError` when the kernel refuses.
    """
    channel = Channel()
    try:
        peer = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _named(out) + attribute(_IFLA_ADDRESS, mac)
        info = attribute(_IFLA_INFO_KIND, b"veth") + attribute(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER, peer))
        body = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _named(into) + attribute(_IFLA_LINKINFO, info)
        with contextlib.suppress(FileExistsError):
            _new(channel, body, _SMALL if cut else (_MAX_SIZE,), 1 if cut else _MAX_SEGMENTS)
        found = socket.if_nametoindex(into), socket.if_nametoindex(out)
        for name in (into, out):
            set_sysctl("ipv6", name, "addr_gen_mode", _NO_ADDRESS)
        for index in found:
            channel.do(_NEWLINK, 0, _IFINFO.pack(socket.AF_UNSPEC, 0, index, _IFF_UP, _IFF_UP))
        return found
    finally:
        channel.close()


def remove(name: str) -> None:
    """Take the pair away that the device *name* is an end of; not being there is no error."""
    channel = Channel()
    try:
        body = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, name.encode() + b"\0")
        channel.do(_DELLINK, 0, body)
    except OSError as err:
        if err.errno != errno.ENODEV:
            raise
    finally:
        channel.close()


def set_sysctl(family: str, name: str, sysctl: str, value: str) -> None:
    """Set a sysctl of a device, if this kernel has the family and the sysctl."""
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/{family}/conf/{name}/{sysctl}").write_text(value)


def _new(channel: Channel, body: bytes, sizes: Sequence[int], segments: int) -> None:
    """Make what *body* says, with the first of *sizes* that the kernel takes for the largest GSO packet."""
    more = attribute(_IFLA_GSO_MAX_SEGS, struct.pack("=I", segments))
    for size in sizes:
        wanted = body + more + attribute(_IFLA_GSO_MAX_SIZE, struct.pack("=I", size))
        try:
            return channel.do(_NEWLINK, rtnetlink.CREATE | rtnetlink.EXCL, wanted)
        except OSError as err:
            if err.errno != errno.ERANGE or size == sizes[-1]:
                raise


def _named(name: str) -> bytes:
    return attribute(_IFLA_IFNAME, name.encode() + b"\0") + attribute(_IFLA_MTU, struct.pack("=I", MTU))
