"""TC filters for kernels without TCX (before 6.6): the clsact qdisc and a direct-action bpf filter.

Three rtnetlink messages on a socket of our own, so that it works inside a
running event loop and in whatever network namespace the caller is in.  Leaves
the qdisc behind: others may have filters on it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct

_RTM_NEWQDISC, _RTM_NEWTFILTER, _RTM_DELTFILTER = 36, 44, 45
_NLMSG_ERROR = 2
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TCA_BPF_FD, _TCA_BPF_NAME, _TCA_BPF_FLAGS = 6, 7, 8
_DIRECT_ACTION = 1
_QDISC, _QDISC_PARENT = 0xFFFF0000, 0xFFFFFFF1
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_PRIORITY = 10
_ALL_PROTOCOLS = socket.htons(0x0003)


def attach(ifindex: int, prog_fd: int, handle: int, *, egress: bool) -> None:
    """Put the program on the interface, replacing the one with the same *handle* at once.  Raises `OSError`."""
    try:
        _request(_RTM_NEWQDISC, _CREATE | _EXCL, ifindex, _QDISC, _QDISC_PARENT, 0, _attribute(_TCA_KIND, b"clsact\0"))
    except OSError as err:
        if err.errno != errno.EEXIST:
            raise
    options = _attribute(_TCA_BPF_FD, struct.pack("=I", prog_fd))
    options += _attribute(_TCA_BPF_NAME, b"xlvs\0")
    options += _attribute(_TCA_BPF_FLAGS, struct.pack("=I", _DIRECT_ACTION))
    _filter(_RTM_NEWTFILTER, _CREATE | _REPLACE, ifindex, handle, egress=egress, more=_attribute(_TCA_OPTIONS, options))


def detach(ifindex: int, handle: int, *, egress: bool) -> bool:
    """Remove the filter with this *handle*; return whether it was there."""
    try:
        _filter(_RTM_DELTFILTER, 0, ifindex, handle, egress=egress)
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.EINVAL, errno.ENODEV):  # no filter, no qdisc, no interface
            return False
        raise
    return True


def _filter(type_: int, flags: int, ifindex: int, handle: int, *, egress: bool, more: bytes = b"") -> None:
    parent = _EGRESS if egress else _INGRESS
    info = _PRIORITY << 16 | _ALL_PROTOCOLS
    _request(type_, flags, ifindex, handle, parent, info, _attribute(_TCA_KIND, b"bpf\0") + more)


def _attribute(type_: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), type_) + data + bytes(-len(data) % 4)


def _request(type_: int, flags: int, ifindex: int, handle: int, parent: int, info: int, attributes: bytes) -> None:
    body = struct.pack("=BxxxiIII", socket.AF_UNSPEC, ifindex, handle, parent, info) + attributes
    message = struct.pack("=IHHII", 16 + len(body), type_, flags | _REQUEST | _ACK, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        netlink.send(message)
        answer = netlink.recv(65536)
    kind, code = struct.unpack_from("=H", answer, 4)[0], struct.unpack_from("=i", answer, 16)[0]
    if kind == _NLMSG_ERROR and code != 0:
        raise OSError(-code, f"traffic control on interface {ifindex}: {os.strerror(-code)}")
