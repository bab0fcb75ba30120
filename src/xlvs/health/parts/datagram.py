"""Questions by UDP: one datagram out, the right one back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

from xlvs.health.check import Target

LARGEST = 1 << 16

# linux/in.h and linux/in6.h; the socket module has neither.
_IP_RECVERR = 11
_IPV6_RECVERR = 25


@contextlib.contextmanager
def opened(target: Target, kind: int = socket.SOCK_DGRAM, protocol: int = 0) -> Iterator[socket.socket]:
    """Give a socket that is connected to *target* and hears of its ICMP errors; raises `OSError`."""
    six = ":" in target.address
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind, protocol) as sock:
        sock.setblocking(False)
        # Without it only a port that is closed is told to us, not a host that is gone (ip(7), IP_RECVERR).
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        sock.connect((target.address, target.port))
        yield sock


async def hear(sock: socket.socket, right: Callable[[bytes], bool]) -> bytes:
    """Return the first datagram that is *right*, and ignore others; raises `OSError`."""
    loop = asyncio.get_running_loop()
    while True:
        data = await loop.sock_recv(sock, LARGEST)
        if right(data):
            return data


async def ask(target: Target, question: bytes, right: Callable[[bytes], bool]) -> bytes:
    """Send *question* and return the first answer that is *right*; raises `OSError`."""
    with opened(target) as sock:
        await asyncio.get_running_loop().sock_sendall(sock, question)
        return await hear(sock, right)
