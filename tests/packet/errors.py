"""ICMP errors of both families, as the director sends them or is sent them."""

from __future__ import annotations

from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.packet import Packet, Raw

from tests.packet import sums
from tests.packet.frames import FROM_CLIENT, Frame, Link, frame, packet_of

QUOTE = {4: 548, 6: 1232}
"""Most bytes of the packet in question that are quoted."""

KINDS = ("unreachable", "time-exceeded", "too-big")


def error_type(family: int, kind: str, mtu: int = 0) -> Packet:
    """Return the ICMP header; *kind* is one of `KINDS` or a message that is no error."""
    if family == 4:
        return {
            "unreachable": ICMP(type=3, code=3),
            "time-exceeded": ICMP(type=11, code=0),
            "too-big": ICMP(type=3, code=4, nexthopmtu=mtu),
            "source-quench": ICMP(type=4, code=0),
            "parameter": ICMP(type=12, code=0),
            "redirect": ICMP(type=5, code=1),
        }[kind]
    return {
        "unreachable": ICMPv6DestUnreach(code=4),
        "time-exceeded": ICMPv6TimeExceeded(),
        "too-big": ICMPv6PacketTooBig(mtu=mtu),
        "parameter": ICMPv6ParamProblem(),
        "echo": ICMPv6EchoReply(),
    }[kind]


def error(
    kind: str,
    src: str,
    dst: str,
    quote: bytes,
    *,
    mtu: int = 0,
    ttl: int = 64,
    tos: int = 0,
    ip_id: int = 4711,
    link: Link = FROM_CLIENT,
) -> Frame:
    """Return an ICMP error from *src* to *dst* about the packet that begins with *quote*."""
    body = error_type(6 if ":" in src else 4, kind, mtu) / Raw(quote)
    if ":" in src:
        return frame(IPv6(src=src, dst=dst, hlim=ttl, tc=tos) / body, link)
    return frame(IP(src=src, dst=dst, ttl=ttl, tos=tos, id=ip_id) / body, link)


def translated(quote: Frame, way: str, protocol: str, **fields: object) -> bytes:
    """Return what nat makes of a quoted packet: other ends, the old transport checksum."""
    start, number, _ = sums.transport(quote)
    at = start + sums.FIELD[number]
    check = int.from_bytes(quote[at : at + 2], "big")
    return packet_of(protocol, way, "A", check=check, **fields).ip
