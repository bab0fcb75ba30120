"""The numbered datagram service: each datagram is answered with itself, the server's name and its address.

A reply leaves from the address that was asked, which on a real server behind
`route` or `ipip` is the virtual one; a wildcard socket alone would answer
from the interface's own address, and the client would not know the sender.

    python -m xlvs.demo.datagrams NAME ADDRESS PORT READY-FILE
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from pathlib import Path

IP_PKTINFO = 8  # include/uapi/linux/in.h; Python 3.11 does not name it

Ancillary = list[tuple[int, int, bytes]]


def sockets(port: int) -> list[socket.socket]:
    """Return a bound socket per family that reports the address each datagram was sent to."""
    v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    v4.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    for sock, wildcard in ((v4, "0.0.0.0"), (v6, "::")):
        sock.bind((wildcard, port))
    return [v4, v6]


def from_asked_address(ancillary: Ancillary) -> Ancillary:
    """Turn what came with a datagram into what makes the reply leave from the address it was sent to."""
    reply: Ancillary = []
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _, local, _ = struct.unpack("I4s4s", data)
            reply.append((level, kind, struct.pack("I4s4s", 0, local, bytes(4))))
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            reply.append((level, kind, data[:16] + bytes(4)))
    return reply


def serve(name: str, address: str, port: int, ready: Path) -> None:
    """Answer for ever; *ready* is created once the sockets are bound."""
    bound = sockets(port)
    signature = f" {name} {address}".encode()
    ready.touch()
    while True:
        for sock in select.select(bound, [], [])[0]:
            data, ancillary, _, client = sock.recvmsg(65535, 256)
            sock.sendmsg([data + signature], from_asked_address(ancillary), 0, client)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
