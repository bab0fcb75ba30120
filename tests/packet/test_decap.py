"""Decapsulation on a real server: the packet in the tunnel comes in again, as if it had come so."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP
from scapy.packet import Packet

from tests.packet import network as net
from tests.packet.director import GONE, PASS, SENT, Director, at
from tests.packet.errors import error
from tests.packet.frames import (
    FROM_CLIENT,
    Ends,
    Frame,
    Link,
    ends,
    frame,
    from_vip,
    ip_header,
    packet_of,
    tcp,
    to_vip,
    udp,
)


@pytest.fixture(params=[4, 6], ids=["in4", "in6"])
def outer(request: pytest.FixtureRequest) -> int:
    """The family of the tunnel."""
    return int(request.param)


@pytest.fixture
def server(director: Director, family: int) -> Director:
    """A real server that knows its virtual address."""
    director.service(f"{at(net.VIP[family], 80)}/tcp")
    return director


def tunnel(outer: int, inner: Frame, link: Link = FROM_CLIENT, number: int = 0, **fields: object) -> Frame:
    """Return *inner* as it comes from the director through the tunnel."""
    number = number or (4 if inner[14] >> 4 == 4 else 41)
    way = Ends(net.DIRECTOR[outer], 0, net.server(outer, 1), 0)
    header: Packet = ip_header(way, **{"proto" if outer == 4 else "nh": number}, **fields)
    return frame(header / inner.ip, link)


def test_the_inner_packet_comes_out_whole(server: Director, family: int, outer: int, protocol: str) -> None:
    """All four mixes of families: the bytes of the inner packet behind the same MACs, with its own type."""
    for inner in (
        packet_of(protocol, to_vip(family)),
        packet_of(protocol, to_vip(family), payload=b""),
        packet_of(protocol, to_vip(family), payload=bytes(1300), tos=0x48, ttl=1),
    ):
        out = server.packet(tunnel(outer, inner), "decap")
        assert out.packet == inner
        assert out.verdict is SENT
    assert server.counters() == {"decapsulated": 3}
    assert server.drops() == {}


def test_errors_in_the_tunnel_come_out_too(server: Director, family: int, outer: int) -> None:
    """Whatever is for the virtual address is unwrapped, ICMP as well."""
    way = ends(to_vip(family))
    inner = error("unreachable", way.src, way.dst, tcp(from_vip(family), "A").ip)
    out = server.packet(tunnel(outer, inner), "decap")
    assert (out.verdict, out.packet) == (SENT, inner)


def test_padding_stays(server: Director, family: int, outer: int) -> None:
    """A short frame's padding is behind the inner packet, whose length says where it ends."""
    inner = tcp(to_vip(family), "S")
    out = server.packet(Frame(tunnel(outer, inner) + bytes(9)), "decap")
    assert out.packet == Frame(inner + bytes(9))


def test_tunnels_of_others_pass(server: Director, family: int, outer: int) -> None:
    """A host that knows a virtual address is no open end for other tunnels."""
    other = "203.0.113.1" if family == 4 else "2001:db8:f::1"
    inner = tcp(f"{at(net.CLIENT[family], 1)} > {at(other, 80)}", "S")
    sent = tunnel(outer, inner)
    out = server.packet(sent, "decap")
    assert (out.verdict, out.packet) == (PASS, sent)
    assert server.counters() == {}


def test_plain_traffic_passes(server: Director, family: int, protocol: str) -> None:
    """What is in no tunnel is not touched."""
    sent = packet_of(protocol, to_vip(family))
    out = server.packet(sent, "decap")
    assert (out.verdict, out.packet) == (PASS, sent)


def test_a_frame_for_another_host_passes(server: Director, family: int, outer: int) -> None:
    """Only what was sent to this host's MAC is unwrapped."""
    sent = tunnel(outer, tcp(to_vip(family), "S"), (net.CLIENT_MAC, "02:00:00:00:00:77"))
    out = server.packet(sent, "decap")
    assert (out.verdict, out.packet) == (PASS, sent)


def test_what_is_not_what_it_says_passes(server: Director, family: int, outer: int) -> None:
    """An inner header of another version than the outer one announces is no packet of ours."""
    sent = tunnel(outer, tcp(to_vip(family), "S"), number=41 if family == 4 else 4)
    out = server.packet(sent, "decap")
    assert (out.verdict, out.packet) == (PASS, sent)


def pieces(inner: Frame, size: int, *, ident: int = 7) -> list[Frame]:
    """Return the tunnel packet in fragments with *size* bytes of it each."""
    whole = tunnel(4, inner, df=False, id=ident)
    header, body = whole.ip[:20], whole.ip[20:]
    proto, way = header[9], Ends(net.DIRECTOR[4], 0, net.server(4, 1), 0)
    return [
        frame(
            ip_header(way, proto=proto, df=False, id=ident, frag=i // 8, flags="MF" if i + size < len(body) else "")
            / body[i : i + size]
        )
        for i in range(0, len(body), size)
    ]


def test_fragments_of_the_tunnel_become_the_packet(server: Director, family: int) -> None:
    """In any order behind the first; the fragment that comes last becomes the inner packet."""
    inner = udp(to_vip(family), bytes(range(256)) * 8)
    first, *rest = pieces(inner, 504)
    assert len(rest) == 4
    for order in (rest, rest[::-1], [rest[2], rest[0], rest[3], rest[1]]):
        outs = [server.packet(piece, "decap") for piece in (first, *order)]
        assert [out.verdict for out in outs] == [GONE] * 4 + [SENT]
        assert outs[-1].packet == inner
    assert server.drops() == {}


def test_two_tunnel_packets_in_turns(server: Director, family: int) -> None:
    """The id tells them apart."""
    one, two = (udp(to_vip(family, port), bytes([port % 256]) * 1400) for port in (4001, 4002))
    sent = [
        piece for pair in zip(pieces(one, 1400, ident=1), pieces(two, 1400, ident=2), strict=True) for piece in pair
    ]
    outs = [server.packet(piece, "decap") for piece in sent]
    assert [out.verdict for out in outs] == [GONE, GONE, SENT, SENT]
    assert [out.packet for out in outs[2:]] == [one, two]


def test_a_fragment_that_comes_twice_counts_once(server: Director, family: int) -> None:
    """Also the first one, with which everything begins anew."""
    inner = udp(to_vip(family), bytes(range(250)) * 6)
    first, second, third = pieces(inner, 600)
    verdicts = [server.packet(piece, "decap").verdict for piece in (first, second, second)]
    assert verdicts == [GONE, GONE, PASS]
    assert server.packet(third, "decap").packet == inner
    assert server.packet(third, "decap").verdict is PASS
    verdicts = [server.packet(piece, "decap").verdict for piece in (first, second, first, third)]
    assert verdicts == [GONE] * 4
    assert server.packet(second, "decap").packet == inner


def test_fragments_of_others_pass(server: Director, family: int) -> None:
    """Of other tunnels, of no tunnel, later ones without a first: the stack has them as they came."""
    other = "203.0.113.1" if family == 4 else "2001:db8:f::1"
    strangers = pieces(udp(f"{at(net.CLIENT[family], 1)} > {at(other, 80)}", bytes(1400)), 800)
    datagram = udp(to_vip(4), bytes(1400), df=False, flags="MF")
    lost = pieces(udp(to_vip(family), bytes(1400)), 800, ident=9)[1:]
    for sent in (*strangers, datagram, *lost):
        out = server.packet(sent, "decap")
        assert (out.verdict, out.packet) == (PASS, sent)


def test_what_is_too_long_passes(server: Director, family: int) -> None:
    """A fragment behind the room for it is left to the stack."""
    first, second = pieces(udp(to_vip(family), bytes(1400)), 800)
    assert server.packet(first, "decap").verdict is GONE
    header = IP(second.ip)
    header.frag = (9216 - 8) // 8
    del header.chksum
    sent = frame(header)
    out = server.packet(sent, "decap")
    assert (out.verdict, out.packet) == (PASS, sent)


def test_a_tunnel_packet_cut_short_anywhere_does_no_harm(server: Director, family: int, outer: int) -> None:
    """Cut inside the headers it passes; cut behind them, the stack judges what comes out."""
    inner = tcp(to_vip(family), "S")
    whole = tunnel(outer, inner)
    room = len(whole) - len(inner)
    for length in range(14 + room + 1, len(whole)):
        out = server.packet(Frame(whole[:length]), "decap")
        if out.verdict is SENT:
            assert length - room >= 14 + (20 if family == 4 else 40)
            assert out.packet == inner[: length - room]
        else:
            assert (out.verdict, out.packet) == (PASS, whole[:length])


def test_a_fragment_inside_comes_out(server: Director, family: int, outer: int) -> None:
    """Fragments of the client travel in tunnel packets of their own."""
    inner = udp(to_vip(family), bytes(64))
    if family == 4:
        inner = udp(to_vip(family), bytes(64), df=False, flags="MF")
    out = server.packet(tunnel(outer, inner), "decap")
    assert (out.verdict, out.packet) == (SENT, inner)
