"""Frames as sentences: build them with scapy, compare them byte for byte, and say where they differ.

    tcp("198.51.100.7:4000 > 192.0.2.1:80", "S", ttl=63, link=to_server(1))

Checksums are scapy's own, computed over the finished packet, unless *check* gives another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from tests.packet import network as net

Link = tuple[str, str]
"""Source and destination MAC."""

FROM_CLIENT: Link = (net.CLIENT_MAC, net.OUTSIDE_MAC)
TO_CLIENT: Link = (net.OUTSIDE_MAC, net.CLIENT_MAC)
LOCAL: Link = (net.NO_MAC, net.NO_MAC)


def to_server(number: int) -> Link:
    """The link of a frame that the director sends to real server *number*."""
    return (net.TIGHT_MAC if number >= 11 else net.INSIDE_MAC, net.server_mac(number))


def from_server(number: int) -> Link:
    """The link of a frame that real server *number* sends to the director."""
    return to_server(number)[::-1]


class Frame(bytes):
    """The bytes of one Ethernet frame; two that differ explain themselves in a failed assert."""

    def decoded(self) -> Packet:
        """Return it as scapy layers."""
        return Ether(bytes(self))

    @property
    def ip(self) -> bytes:
        """What follows the Ethernet header."""
        return bytes(self[14:])

    @property
    def ip_id(self) -> int:
        """The identification of its IPv4 header: where the director counts it up itself, no test can know it."""
        return int.from_bytes(self[18:20], "big")

    def with_byte(self, offset: int, value: int) -> Frame:
        """Return the same frame with another byte at *offset*."""
        return Frame(self[:offset] + bytes([value]) + self[offset + 1 :])


class Ends(NamedTuple):
    """Addresses and ports of a packet."""

    src: str
    sport: int
    dst: str
    dport: int

    @property
    def version(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.src else 4


def at(address: str, port: int) -> str:
    """Return address and port as they are written: brackets around IPv6."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def ends(text: str) -> Ends:
    """Read ``ADDRESS:PORT > ADDRESS:PORT``; the ports may be left out."""
    src, dst = (_end(part.strip()) for part in text.split(">"))
    return Ends(*src, *dst)


def _end(text: str) -> tuple[str, int]:
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port[1:] or 0)
    address, _, port = text.partition(":")
    return address, int(port or 0)


def to_vip(family: int, port: int = 4000) -> str:
    """From the client to the service."""
    return f"{at(net.CLIENT[family], port)} > {at(net.VIP[family], 80)}"


def from_vip(family: int, port: int = 4000) -> str:
    """From the service to the client."""
    return f"{at(net.VIP[family], 80)} > {at(net.CLIENT[family], port)}"


def to_real(family: int, number: int = 1, port: int = 4000) -> str:
    """From the client to a real server behind nat."""
    return f"{at(net.CLIENT[family], port)} > {at(net.server(family, number), 8080)}"


def from_real(family: int, number: int = 1, port: int = 4000) -> str:
    """From a real server behind nat to the client."""
    return f"{at(net.server(family, number), 8080)} > {at(net.CLIENT[family], port)}"


def ip_header(way: Ends, **fields: Any) -> Packet:
    """Return an IP header: *ttl*, *tos*, *df*, *options* (IPv4), *ext* (IPv6 extension headers), and scapy's own."""
    if way.version == 6:
        fields = {
            _NAMES6.get(name, name): value for name, value in fields.items() if name not in ("options", "id", "df")
        }
        extensions = fields.pop("ext", None)
        header = IPv6(src=way.src, dst=way.dst, **{"hlim": 64, **fields})
        return header / extensions if extensions is not None else header
    if fields.pop("df", True):
        fields.setdefault("flags", "DF")
    return IP(src=way.src, dst=way.dst, **{"ttl": 64, "id": 4711, **fields})


_NAMES6 = {"ttl": "hlim", "tos": "tc"}


def frame(packet: Packet, link: Link = FROM_CLIENT) -> Frame:
    """Return *packet*, from its IP header on, as a frame."""
    return Frame(bytes(Ether(src=link[0], dst=link[1]) / packet))


def tcp(
    way: str,
    flags: str = "A",
    payload: bytes = b"",
    *,
    link: Link = FROM_CLIENT,
    check: int | None = None,
    tcp_options: list[tuple[str, Any]] | None = None,
    seq: int = 1000,
    ack: int = 2000,
    **fields: Any,
) -> Frame:
    """Return a TCP segment."""
    e = ends(way)
    segment = TCP(sport=e.sport, dport=e.dport, flags=flags, seq=seq, ack=ack, chksum=check, options=tcp_options or [])
    return frame(ip_header(e, **fields) / segment / Raw(payload), link)


def udp(
    way: str, payload: bytes = b"ping", *, link: Link = FROM_CLIENT, check: int | None = None, **fields: Any
) -> Frame:
    """Return a UDP datagram; *check* 0 means that it has no checksum."""
    e = ends(way)
    return frame(ip_header(e, **fields) / UDP(sport=e.sport, dport=e.dport, chksum=check) / Raw(payload), link)


def packet_of(protocol: str, way: str, flags: str = "S", **fields: Any) -> Frame:
    """Return a TCP segment with *flags*, or a UDP datagram."""
    return tcp(way, flags, **fields) if protocol == "tcp" else udp(way, **fields)


def differences(ours: Frame, theirs: Frame) -> Iterator[str]:
    """Yield lines that show both frames and begin with the first field that differs."""
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    yield f"frames of {len(ours)} and {len(theirs)} bytes differ from byte {first} on"
    left, right = dict(_fields(ours)), dict(_fields(theirs))
    for name in [*left, *(name for name in right if name not in left)]:
        if left.get(name) != right.get(name):
            yield f"first field that differs: {name}: {left.get(name)} is not {right.get(name)}"
            break
    for what, one, fields in (("have", ours, left), ("want", theirs, right)):
        yield f"{what}: {' '.join(f'{name}={value}' for name, value in fields.items())}"
        yield f"      {bytes(one).hex()}"


def _fields(one: Frame) -> Iterator[tuple[str, str]]:
    layer: Packet | None = one.decoded()
    depth = 0
    while layer:
        for field in layer.fields_desc:
            yield f"{depth}.{layer.name}.{field.name}", str(layer.getfieldval(field.name))
        layer = layer.payload if layer.payload else None
        depth += 1


def at_marker(sent: Frame) -> Frame:
    """Return the frame as Netfilter's duplicate of it: its TTL counted down."""
    packet = sent.decoded()
    ip = packet.payload
    if packet.type == 0x0800:
        ip.ttl -= 1
        del ip.chksum
    else:
        ip.hlim -= 1
    return Frame(bytes(packet))
