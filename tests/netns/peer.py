"""A real server that is asked for more than a page: files both ways, echoed lines, and datagrams checked and returned.

    python tests/netns/peer.py NAME PORT READY-FILE

TCP, one command line per connection:

    GET PATH       the file's bytes follow
    PUT PATH SIZE  that many bytes are read and compared with the file's; answers `same` or where they differ
    ECHO           every line comes back with the server's name before it

UDP: a datagram that is intact comes back as it is; one that is not comes back as `changed`.
"""

from __future__ import annotations

import hashlib
import select
import socket
import socketserver
import struct
import sys
import threading
from pathlib import Path

from xlvs.demo.datagrams import from_asked_address, sockets

CHUNK = 1 << 18
SO_RCVBUFFORCE = 33  # include/uapi/asm-generic/socket.h: root may exceed net.core.rmem_max
HEAD = struct.Struct("!Q32s")
"""Of every datagram: its number, and the SHA-256 of the number and what follows."""


def seal(number: int, payload: bytes) -> bytes:
    """Return the datagram that carries *number* and *payload*."""
    return HEAD.pack(number, hashlib.sha256(number.to_bytes(8, "big") + payload).digest()) + payload


def intact(datagram: bytes) -> bool:
    """Return whether *datagram* is what `seal` made."""
    if len(datagram) < HEAD.size:
        return False
    number, _ = HEAD.unpack_from(datagram)
    return seal(number, datagram[HEAD.size :]) == datagram


class Handler(socketserver.StreamRequestHandler):
    """One TCP connection."""

    def handle(self) -> None:
        """Carry out the command."""
        words = self.rfile.readline().decode().split()
        if words[0] == "GET":
            with open(words[1], "rb") as file:
                self.connection.sendfile(file)
        elif words[0] == "PUT":
            self.wfile.write(f"{self._compare(words[1], int(words[2]))}\n".encode())
        elif words[0] == "ECHO":
            for line in self.rfile:
                self.wfile.write(f"{sys.argv[1]} ".encode() + line)

    def _compare(self, path: str, size: int) -> str:
        with open(path, "rb") as file:
            done = 0
            while done < size:
                got = self.rfile.read(min(CHUNK, size - done))
                if got != file.read(len(got)) or not got:
                    return f"differs or ends within {len(got)} bytes of {done}"
                done += len(got)
        return "same"


class Server(socketserver.ThreadingTCPServer):
    """Both families at one socket."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def server_bind(self) -> None:
        """Bind to every address of both families."""
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def return_datagrams(bound: list[socket.socket]) -> None:
    """Return every intact datagram, for ever."""
    while True:
        for sock in select.select(bound, [], [])[0]:
            data, ancillary, _, client = sock.recvmsg(65535, 256)
            reply = data if intact(data) else b"changed"
            sock.sendmsg([reply], from_asked_address(ancillary), 0, client)


def main(port: int, ready: Path) -> None:
    """Serve for ever; *ready* appears when both protocols are bound."""
    bound = sockets(port)
    for sock in bound:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    server = Server(("::", port), Handler)
    threading.Thread(target=return_datagrams, args=(bound,), daemon=True).start()
    ready.touch()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[2]), Path(sys.argv[3]))
