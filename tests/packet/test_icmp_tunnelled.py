"""ICMP errors about what the director tunnelled: the client is told the same of its own packet."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, TUNNEL_PORT, Director, at
from tests.packet.errors import KINDS, QUOTE, error
from tests.packet.frames import TO_CLIENT, Frame, from_server, packet_of, to_vip, udp

METHODS = ("ipip", "gue none", "gue full", "gue remote", "gre none", "gre full")
ROUTER = {4: "10.0.0.99", 6: "fd00::99"}
MIN_MTU = 1280
"""The least of a path of IPv6 (RFC 8200 §5)."""
HEADER = {4: 20, 6: 40}


@pytest.fixture(params=[4, 6], ids=["in4", "in6"])
def outer(request: pytest.FixtureRequest) -> int:
    """The family of the tunnel."""
    family: int = request.param
    return family


def wrapped(director: Director, packet: Frame, family: int, outer: int, method: str, protocol: str = "udp") -> Frame:
    """Serve by a tunnel, and return the packet as it leaves for the server."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.server(outer, 1), 80)} {method}")
    out = director.packet(packet)
    assert out.verdict is SENT
    return out.packet


def inner_of(frame: Frame, packet: Frame) -> bytes:
    """Return the client's packet as it lies in the tunnel: the end of *frame*."""
    return frame[-len(packet.ip) :]


def about(kind: str, outer: int, quote: bytes, *, mtu: int = 0, src: str = "") -> Frame:
    """Return a router's error about a packet from the director to the server."""
    return error(kind, src or ROUTER[outer], net.DIRECTOR[outer], quote, mtu=mtu, link=from_server(1))


def told(kind: str, family: int, outer: int, quote: bytes, *, mtu: int = 0) -> Frame:
    """Return what the client is to get: of one family the same error, else the nearest there is."""
    if family != outer and kind != "too-big":
        frame = error(
            "unreachable", net.VIP[family], net.CLIENT[family], quote, tos=0xC0 * (family == 4), link=TO_CLIENT
        )
        return recoded(frame, family, {4: 1, 6: 3}[family])
    tos = 0xC0 if family == 4 else 0
    return error(kind, net.VIP[family], net.CLIENT[family], quote, mtu=mtu, tos=tos, link=TO_CLIENT)


def recoded(frame: Frame, family: int, code: int) -> Frame:
    """Return the error with another code, and its checksum mended for that."""
    start = 14 + HEADER[family] + 1
    value = int.from_bytes(frame[start + 1 : start + 3], "big") + frame[start] - code
    value = (value & 0xFFFF) + (value >> 16)
    return Frame(frame[:start] + bytes([code]) + value.to_bytes(2, "big") + frame[start + 3 :])


def settled(frame: Frame, ours: Frame) -> Frame:
    """Return the frame with the id of *ours*, which the director chooses, and a checksum that fits."""
    if frame.ip[0] >> 4 == 6:
        return frame
    old, new = int.from_bytes(frame[18:20], "big"), int.from_bytes(ours[18:20], "big")
    total = (~int.from_bytes(frame[24:26], "big") & 0xFFFF) + (~old & 0xFFFF) + new
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return Frame(frame[:18] + ours[18:20] + frame[20:24] + (~total & 0xFFFF).to_bytes(2, "big") + frame[26:])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_the_client_is_told_of_its_own_packet(
    director: Director, family: int, outer: int, protocol: str, method: str, kind: str
) -> None:
    """Outer headers gone, its packet as it was sent on, and the path's MTU less what the tunnel takes."""
    packet = packet_of(protocol, to_vip(family), payload=b"z" * 700)
    frame = wrapped(director, packet, family, outer, method, protocol)
    room = len(frame.ip) - len(packet.ip)
    out = director.packet(about(kind, outer, frame.ip, mtu=1450))
    quote = inner_of(frame, packet)[: QUOTE[family]]
    assert out.verdict is SENT
    assert out.packet == settled(told(kind, family, outer, quote, mtu=1450 - room), out.packet)
    assert director.counters()["icmp_relayed"] == 1
    assert director.drops() == {}
    assert director.stats(f"{at(net.server(outer, 1), 80)}")[1:3] == (1, 1)


def test_a_short_quote_is_enough(director: Director, family: int, outer: int) -> None:
    """As long as the ports of the client's packet are there."""
    packet = udp(to_vip(family), payload=b"z" * 100)
    frame = wrapped(director, packet, family, outer, "ipip")
    end = HEADER[outer] + HEADER[family] + 8
    out = director.packet(about("time-exceeded", outer, frame.ip[:end]))
    quote = inner_of(frame, packet)[: HEADER[family] + 8]
    assert out.packet == settled(told("time-exceeded", family, outer, quote), out.packet)


@pytest.mark.parametrize("cut", [0, 8, 28])
def test_a_quote_without_the_clients_ports_is_the_hosts(director: Director, family: int, outer: int, cut: int) -> None:
    """A router need not quote more than eight bytes behind the outer header: there is nobody to tell."""
    frame = wrapped(director, udp(to_vip(family)), family, outer, "gue none")
    sent = about("unreachable", outer, frame.ip[: HEADER[outer] + cut])
    out = director.packet(sent)
    assert (out.verdict, out.packet) == (PASS, sent)


def test_no_mtu_below_the_least_is_told(director: Director, outer: int) -> None:
    """A client of IPv6 is not told less than every path must carry; a too small one of IPv4 is passed on as it is."""
    packet = udp(to_vip(6), payload=b"z" * 100)
    frame = wrapped(director, packet, 6, outer, "ipip")
    out = director.packet(about("too-big", outer, frame.ip, mtu=MIN_MTU + HEADER[outer] - 1))
    assert out.packet == settled(told("too-big", 6, outer, inner_of(frame, packet), mtu=MIN_MTU), out.packet)
    packet = udp(to_vip(4), payload=b"z" * 100)
    frame = wrapped(director, packet, 4, outer, "ipip")
    out = director.packet(about("too-big", outer, frame.ip, mtu=60))
    assert out.packet == settled(told("too-big", 4, outer, inner_of(frame, packet), mtu=60), out.packet)


def test_a_client_that_lets_its_packets_be_cut_is_not_told_of_their_size(director: Director, outer: int) -> None:
    """Without DF the host alone learns of it."""
    packet = udp(to_vip(4), payload=b"z" * 100, flags=0)
    frame = wrapped(director, packet, 4, outer, "ipip")
    sent = about("too-big", outer, frame.ip, mtu=1300)
    assert director.packet(sent).packet == sent


@pytest.mark.parametrize("strange", ["flow", "server", "method", "port"])
def test_what_is_not_ours_is_the_hosts(director: Director, family: int, outer: int, strange: str) -> None:
    """The quote must be of a flow, to its server, by its method: nobody can make us tell a client anything else."""
    packet = udp(to_vip(family))
    frame = wrapped(director, packet, family, outer, "gue none")
    inner, ip = inner_of(frame, packet), bytearray(frame.ip)
    if strange == "flow":
        ip[-len(inner) + HEADER[family] + 1] ^= 1
    elif strange == "server":
        ip[HEADER[outer] - 1] ^= 1
    elif strange == "port":
        ip[HEADER[outer] + 2 : HEADER[outer] + 4] = (TUNNEL_PORT + 1).to_bytes(2, "big")
    else:
        ip[6 if outer == 6 else 9] = {4: 4, 6: 41}[family]
        ip[HEADER[outer] :] = inner
    sent = about("unreachable", outer, bytes(ip))
    out = director.packet(sent)
    assert (out.verdict, out.packet) == (PASS, sent)


def test_no_more_than_the_limit_is_told(director: Director, family: int, outer: int) -> None:
    """As many errors a second as the director sends itself, on each CPU."""
    frame = wrapped(director, udp(to_vip(family)), family, outer, "ipip")
    director.configure(icmp_per_second=0)
    try:
        assert director.packet(about("unreachable", outer, frame.ip)).verdict is DROP
    finally:
        director.configure()
    assert director.drops() == {"icmp_limit": 1}
