"""What an interface carries, captured by a packet socket, and the ICMP errors in it taken apart.

Parses only what the tests look at: Ethernet, IPv4 without options, IPv6
without extension headers, TCP, UDP, ICMP errors.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.netns.peer import SO_RCVBUFFORCE
from xlvs.demo import netns

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
BUFFER = 1 << 27
"""Holds all that a test sends, so that nobody has to read meanwhile."""


def folded(data: bytes) -> int:
    """Return the Internet checksum's sum over *data* (RFC 1071): 0xffff if a checksum in it is right."""
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return total


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet; *data* begins with the IP header and ends where that says, or where it was cut."""

    data: bytes

    @property
    def family(self) -> int:
        """4 or 6."""
        return self.data[0] >> 4

    @property
    def header(self) -> int:
        """Length of the IP header."""
        return 20 if self.family == 4 else 40

    @property
    def length(self) -> int:
        """Length of the packet as its header tells it."""
        return int.from_bytes(self.data[2:4], "big") if self.family == 4 else 40 + int.from_bytes(self.data[4:6], "big")

    @property
    def protocol(self) -> int:
        """The IP protocol."""
        return self.data[9 if self.family == 4 else 6]

    @property
    def ttl(self) -> int:
        """TTL or hop limit."""
        return self.data[8 if self.family == 4 else 7]

    @property
    def addresses(self) -> tuple[str, str]:
        """Source and destination."""
        first, size = (12, 4) if self.family == 4 else (8, 16)
        raw = self.data[first : first + size], self.data[first + size : first + 2 * size]
        return str(ipaddress.ip_address(raw[0])), str(ipaddress.ip_address(raw[1]))

    @property
    def ports(self) -> tuple[int, int]:
        """Source and destination port of TCP and UDP."""
        source, destination = struct.unpack_from("!HH", self.data, self.header)
        return source, destination

    @property
    def payload(self) -> bytes:
        """What follows the IP header."""
        return self.data[self.header :]

    @property
    def is_icmp_error(self) -> bool:
        """Whether it is an ICMP or ICMPv6 error."""
        if self.family == 4:
            return self.protocol == socket.IPPROTO_ICMP and self.payload[0] in (3, 11, 12)
        return self.protocol == socket.IPPROTO_ICMPV6 and self.payload[0] < 128

    def header_is_valid(self) -> bool:
        """Return whether the IPv4 header's checksum is right."""
        return self.family == 6 or folded(self.data[:20]) == 0xFFFF

    def icmp_is_valid(self) -> bool:
        """Return whether the ICMP checksum is right over the bytes that were captured."""
        pseudo = b""
        if self.family == 6:
            pseudo = self.data[8:40] + struct.pack("!II", len(self.payload), self.protocol)
        return folded(pseudo + self.payload) == 0xFFFF


@dataclass(frozen=True, slots=True)
class Error:
    """An ICMP error: its *packet*, and the packet that it quotes."""

    packet: Packet

    @property
    def kind(self) -> tuple[int, int]:
        """Type and code."""
        return self.packet.payload[0], self.packet.payload[1]

    @property
    def mtu(self) -> int:
        """The MTU told."""
        first = 6 if self.packet.family == 4 else 4
        return int.from_bytes(self.packet.payload[first:8], "big")

    @property
    def quote(self) -> Packet:
        """The quoted packet, as far as it is quoted."""
        return Packet(self.packet.payload[8:])


class Capture:
    """All that passes *interface* of *namespace* while it is open, in both directions."""

    def __init__(self, namespace: str, interface: str = "eth0") -> None:
        self._sock = netns.inside(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        self._sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
        self._sock.bind((interface, ETH_P_ALL))
        self._sock.setblocking(False)
        self._seen: list[tuple[bool, Packet]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the capture."""
        self._sock.close()

    def sent(self) -> list[Packet]:
        """Return what left by the interface so far."""
        self._read()
        return [packet for outgoing, packet in self._seen if outgoing]

    def errors(self) -> list[Error]:
        """Return the ICMP errors that arrived so far."""
        self._read()
        return [Error(packet) for outgoing, packet in self._seen if not outgoing and packet.is_icmp_error]

    def _read(self) -> None:
        while True:
            try:
                frame, (_, protocol, kind, *_) = self._sock.recvfrom(1 << 17)
            except BlockingIOError:
                break
            if protocol in (0x0800, 0x86DD):
                packet = Packet(frame[14:])
                self._seen.append((kind == socket.PACKET_OUTGOING, Packet(packet.data[: packet.length])))
        dropped = struct.unpack("II", self._sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
        assert dropped == 0, "the capture is not complete"
