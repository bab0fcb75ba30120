"""Questions to rtnetlink and its answers, as bytes (RFC 3549 §2.2; include/uapi/linux/netlink.h).

Made by hand, and several to a system call: tens of thousands are asked when
routes change, and a general encoder takes longer over one than the kernel.
A question takes some 5 microseconds, so nothing is gained by waiting for the
answer elsewhere.  Raises `OSError` when the kernel refuses.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Sequence

MULTI, ACK, REPLACE, EXCL, DUMP, CREATE = 0x2, 0x4, 0x100, 0x200, 0x300, 0x400
_REQUEST, _DUMP_INTR = 0x1, 0x10
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _CAP_ACK = 270, 10

_HEADER = struct.Struct("=IHHII")
ATTRIBUTE = struct.Struct("=HH")
_BATCH = 64
"""So few that their answers, a kilobyte each as the kernel counts, fit into any receive buffer."""
_TIMEOUT_S = 5
_ATTEMPTS = 5


class Channel:
    """A socket of the network namespace the thread is in when it is made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        # Not settimeout(): that takes a second system call for each answer.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", _TIMEOUT_S, 0))
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._sequence = 0
        self._buffer = bytearray(1 << 18)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def ask(self, kind: int, flags: int, bodies: Sequence[bytes]) -> list[bytes | OSError]:
        """Return the answer to each of *bodies*, in order: its body (empty: done as told), or why not."""
        answers: list[bytes | OSError] = []
        for start in range(0, len(bodies), _BATCH):
            answers += self._ask_some(kind, flags | _REQUEST, bodies[start : start + _BATCH])
        return answers

    def do(self, kind: int, flags: int, body: bytes) -> None:
        """Have one thing done."""
        answer = self.ask(kind, flags | ACK, [body])[0]
        if isinstance(answer, OSError):
            raise answer

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """Yield the bodies of everything there is; one that ends early must be the channel's last question."""
        sequence = self._number(1)
        self._socket.send(_message(kind, DUMP | _REQUEST, sequence, body))
        while True:
            for type_, flags, number, data in self._receive():
                if number != sequence:
                    continue
                if flags & _DUMP_INTR:
                    raise InterruptedError("the kernel's tables changed while they were read")
                if type_ == _DONE:
                    return
                if type_ == _ERROR:
                    raise _refusal(data)
                yield data

    def everything(self, kind: int, body: bytes) -> list[bytes]:
        """Return what `dump` yields, asked again if it changed meanwhile."""
        for _ in range(_ATTEMPTS):
            try:
                return list(self.dump(kind, body))
            except InterruptedError as err:
                refusal = err
        raise refusal

    def _ask_some(self, kind: int, flags: int, bodies: Sequence[bytes]) -> list[bytes | OSError]:
        first = self._number(len(bodies))
        self._socket.send(b"".join(_message(kind, flags, first + i, body) for i, body in enumerate(bodies)))
        answers: dict[int, bytes | OSError] = {}
        while len(answers) < len(bodies):
            for type_, _, number, data in self._receive():
                if first <= number < first + len(bodies):
                    answers[number] = data if type_ != _ERROR else _refusal(data) if any(data[:4]) else b""
        return [answers[first + i] for i in range(len(bodies))]

    def _number(self, count: int) -> int:
        """Return the first of *count* new sequence numbers in a row."""
        first = self._sequence + 1 if self._sequence + count < 1 << 32 else 1
        self._sequence = first + count - 1
        return first

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        size = self._socket.recv_into(self._buffer)
        data = bytes(memoryview(self._buffer)[:size])
        at = 0
        while at + _HEADER.size <= size:
            length, type_, flags, number, _ = _HEADER.unpack_from(data, at)
            if length < _HEADER.size:
                return
            yield type_, flags, number, data[at + _HEADER.size : at + length]
            at += length + 3 & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute as it is sent."""
    return ATTRIBUTE.pack(4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes, at: int = 0) -> dict[int, bytes]:
    """Return the values by number; *at* is where the attributes begin."""
    found = {}
    end = len(data)
    while at + 4 <= end:
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
        at += length + 3 & ~3
    return found


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body


def _refusal(data: bytes) -> OSError:
    code = -struct.unpack_from("=i", data)[0]
    return OSError(code, os.strerror(code))
