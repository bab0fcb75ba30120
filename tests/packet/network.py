"""The network that the director of the packet tests believes it is in: routes and neighbours, no traffic.

    +------------- a namespace without a name -------------+
    | lo (VIPs)                                            |
    | outside 198.51.100.1/24, 2001:db8:c::1/64   clients  |   each is one end of a veth pair
    | inside  10.0.0.254/24, fd00::fe/64          servers  |   whose other end is here too
    | tight   10.1.0.254/24, fd01::fe/64, MTU 1300         |
    +------------------------------------------------------+

The namespace goes when its last descriptor is closed, so nothing is left
behind, however a run ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from xlvs.dataplane import syscalls
from xlvs.dataplane.uapi import AttachType, ProgSpec, ProgType

CLONE_NEWNET = 0x40000000
XDP_PASS = bytes.fromhex("b7000000020000009500000000000000")  # r0 = 2; exit
LO = 1

VIP = {4: "192.0.2.1", 6: "2001:db8::1"}
CLIENT = {4: "198.51.100.7", 6: "2001:db8:c::7"}
DIRECTOR = {4: "10.0.0.254", 6: "fd00::fe"}
"""The director's own address towards the servers."""

NO_MAC = "00:00:00:00:00:00"
OUTSIDE_MAC = "02:00:00:00:00:01"
INSIDE_MAC = "02:00:00:00:00:02"
TIGHT_MAC = "02:00:00:00:00:03"
CLIENT_MAC = "02:00:00:00:01:07"

_BATCH = f"""
link set lo up
link add outside address {OUTSIDE_MAC} type veth peer name outside-end
link add inside address {INSIDE_MAC} type veth peer name inside-end
link add tight mtu 1300 address {TIGHT_MAC} type veth peer name tight-end
link set outside up
link set outside-end up
link set inside up
link set inside-end up
link set tight up
link set tight-end up
address add {VIP[4]}/32 dev lo
address add {VIP[6]}/128 dev lo nodad
address add 198.51.100.1/24 dev outside
address add 2001:db8:c::1/64 dev outside nodad
address add 10.0.0.254/24 dev inside
address add fd00::fe/64 dev inside nodad
address add 10.1.0.254/24 dev tight
address add fd01::fe/64 dev tight nodad
neighbour add {CLIENT[4]} lladdr {CLIENT_MAC} dev outside nud permanent
neighbour add {CLIENT[6]} lladdr {CLIENT_MAC} dev outside nud permanent
"""


def server(family: int, number: int) -> str:
    """Return the address of real server *number*; 9 has no neighbour entry, 11 and up are on the tight link."""
    net = 1 if number >= 11 else 0
    return f"10.{net}.0.{number}" if family == 4 else f"fd0{net}::{number}"


def server_mac(number: int) -> str:
    """Return the MAC address of real server *number*."""
    return f"02:00:00:00:02:{number:02d}"


def _neighbours() -> str:
    lines = []
    for number in (*range(1, 9), 11, 12):
        device = "tight" if number >= 11 else "inside"
        lines += [
            f"neighbour add {server(family, number)} lladdr {server_mac(number)} dev {device} nud permanent"
            for family in (4, 6)
        ]
    return "\n".join(lines)


@dataclass(slots=True)
class Network:
    """The namespace; the programs see it only while the calling thread is `inside` it."""

    _fd: int
    _others: list[int]

    @classmethod
    def make(cls) -> Network:
        """Make the namespace and all that is in it."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc.unshare(CLONE_NEWNET))
        try:
            fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            subprocess.run(["ip", "-batch", "-"], input=_BATCH + _neighbours(), text=True, check=True)
            for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                set_sysctl(path, 1)
            others = [syscalls.prog_load(ProgSpec("pass", ProgType.XDP, XDP_PASS, "GPL", attach_type=AttachType.XDP))]
            # A veth has receive queues that a test run may name only while a program is attached.
            for name in ("outside", "inside", "tight"):
                others.append(syscalls.link_create(others[0], socket.if_nametoindex(name), AttachType.XDP))
        finally:
            _check(_libc.setns(home, CLONE_NEWNET))
            os.close(home)
        return cls(fd, others)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Be in the namespace for a while."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _check(_libc.setns(self._fd, CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_libc.setns(home, CLONE_NEWNET))
            os.close(home)

    def close(self) -> None:
        """Let go of the namespace, which ends it."""
        syscalls.close([self._fd, *self._others])


def set_sysctl(path: str, value: int) -> None:
    """Set a sysctl below net/ in the present namespace."""
    with open(f"/proc/sys/net/{path}", "w") as file:
        file.write(str(value))


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
