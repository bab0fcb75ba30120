"""ping: the host answers an echo request (RFC 792, RFC 4443 §4.1).

As PING_CHECK of keepalived and ``checktype = ping`` of ldirectord.  The port is not looked at.  Where
net.ipv4.ping_group_range allows it, the socket is one of icmp(7), else a raw one, which needs CAP_NET_RAW.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Check, Target, Unable
from xlvs.health.parts import datagram

_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_PROTOCOL = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}

# linux/icmp.h and linux/icmpv6.h: which types a raw socket is not given.
_SOL_RAW = 255
_ICMP_FILTER = 1
_ICMPV6_FILTER = 1


class Ping(Check, frozen=True, kw_only=True, tag="ping"):
    """An echo request is answered."""

    size: Annotated[int, Meta(ge=16, le=65000, description="Bytes of data in the request.")] = 56

    def prepare(self) -> None:
        """See that a socket can be had; raises `Unable`."""
        super().prepare()
        for family in (4, 6):
            try:
                socket.socket(_FAMILY[family], _kind(family), _PROTOCOL[family]).close()
            except PermissionError as err:
                raise Unable(
                    "ping needs CAP_NET_RAW, or a group of the daemon in the sysctl net.ipv4.ping_group_range"
                ) from err
            except OSError:  # no such family here, and so no server of it
                continue

    async def probe(self, target: Target) -> Answer | None:
        """Send one request and wait for its reply."""
        family = 6 if ":" in target.address else 4
        kind = _kind(family)
        # The data tells our reply from those that others wait for: every raw socket gets them all.
        data = os.urandom(16).ljust(self.size, b"\0")
        with datagram.opened(target._replace(port=0), kind, _PROTOCOL[family]) as sock:
            if kind == socket.SOCK_RAW:
                _only_replies(sock, family)
            await asyncio.get_running_loop().sock_sendall(sock, _message(family, data))
            await datagram.hear(sock, lambda reply: _is_reply(family, kind, reply, data))
        return None


CHECK = Ping


def _kind(family: int) -> int:
    """Return which kind of socket we may have."""
    try:
        socket.socket(_FAMILY[family], socket.SOCK_DGRAM, _PROTOCOL[family]).close()
    except OSError:
        return socket.SOCK_RAW
    return socket.SOCK_DGRAM


def _only_replies(sock: socket.socket, family: int) -> None:
    """Have the kernel keep other messages away (raw(7), RFC 3542 §3.2)."""
    if family == 4:
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("I", ~(1 << _REPLY[4]) & 0xFFFFFFFF))
    else:
        blocked = [0xFFFFFFFF] * 8
        blocked[_REPLY[6] >> 5] &= ~(1 << (_REPLY[6] & 31))
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("8I", *blocked))


def _message(family: int, data: bytes) -> bytes:
    """Return the request; in ICMPv6 the kernel adds the checksum (RFC 3542 §3.1)."""
    identifier = os.getpid() & 0xFFFF
    sum_ = 0 if family == 6 else _checksum(struct.pack("!BBHHH", _REQUEST[4], 0, 0, identifier, 1) + data)
    return struct.pack("!BBHHH", _REQUEST[family], 0, sum_, identifier, 1) + data


def _is_reply(family: int, kind: int, reply: bytes, data: bytes) -> bool:
    """Return whether this is the reply to a request with *data*."""
    if family == 4 and kind == socket.SOCK_RAW and reply:  # only raw sockets of IPv4 show the IP header
        reply = reply[(reply[0] & 15) * 4 :]
    return len(reply) > 8 and reply[0] == _REPLY[family] and reply[8:] == data


def _checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071 §1."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
