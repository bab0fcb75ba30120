"""route and ipip: the packet keeps its addresses; ipip wraps it once more, in either family."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, Out
from tests.packet.frames import (
    Frame,
    at,
    ends,
    frame,
    from_vip,
    ip_header,
    packet_of,
    tcp,
    to_server,
    to_vip,
    udp,
)

PROTOCOL_OF = {4: 4, 6: 41}


@pytest.fixture(params=[4, 6], ids=["in4", "in6"])
def outer(request: pytest.FixtureRequest) -> int:
    """The family of the tunnel."""
    return int(request.param)


def wrapped(out: Out, inner: Frame, outer: int, *, tos: int = 0, df: bool = False, number: int = 1) -> Frame:
    """Return *inner* in a tunnel to a real server; an IPv4 header without DF may have any id."""
    way = ends(f"{at(net.DIRECTOR[outer], 0)} > {at(net.server(outer, number), 0)}")
    fields: dict[str, object] = {"ttl": 63, "tos": tos}
    protocol = PROTOCOL_OF[inner[14] >> 4]
    if outer == 4:
        fields |= {"df": df, "id": 0 if df else out.packet.ip_id, "proto": protocol}
    else:
        fields |= {"nh": protocol}
    return frame(ip_header(way, **fields) / inner.ip, to_server(number))


def tunnel(director: Director, family: int, outer: int, protocol: str) -> None:
    """A service whose only server is reached through a tunnel."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.server(outer, 1), 80)} ipip")


def test_route_changes_the_macs_and_the_ttl(director: Director, hook: str, family: int, protocol: str) -> None:
    """Addresses, ports, checksum and TOS reach the server as the client sent them."""
    director.serve(family, protocol, "route")
    out = director.packet(packet_of(protocol, to_vip(family), tos=0x4B), hook)
    assert out.packet == packet_of(protocol, to_vip(family), tos=0x4B, ttl=63, link=to_server(1))
    assert out.verdict is SENT
    assert director.drops() == {}
    assert director.load(at(net.server(family, 1), 80)) == ((1, 0) if protocol == "tcp" else (0, 1))


def test_ipip_wraps_the_packet(director: Director, hook: str, family: int, outer: int, protocol: str) -> None:
    """The outer header goes from the director to the server with the inner TTL, TOS and, between IPv4, DF."""
    tunnel(director, family, outer, protocol)
    out = director.packet(packet_of(protocol, to_vip(family), tos=0x48), hook)
    inner = packet_of(protocol, to_vip(family), tos=0x48, ttl=63)
    assert out.packet == wrapped(out, inner, outer, tos=0x48, df=family == 4)
    assert out.verdict is SENT
    assert director.drops() == {}


@pytest.mark.parametrize(("tos", "copied"), [(0x4B, 0x4A), (0x49, 0x49), (0x4A, 0x4A), (0xFF, 0xFE), (0, 0)])
def test_congestion_experienced_is_not_copied(
    director: Director, hook: str, family: int, outer: int, tos: int, copied: int
) -> None:
    """ECN CE becomes ECT(0) in the outer header, any other TOS is copied whole; the inner one stays."""
    tunnel(director, family, outer, "udp")
    out = director.packet(udp(to_vip(family), tos=tos), hook)
    assert out.packet == wrapped(out, udp(to_vip(family), tos=tos, ttl=63), outer, tos=copied, df=family == 4)


def test_an_inner_packet_that_may_be_fragmented_makes_an_outer_one_that_may(director: Director, hook: str) -> None:
    """Without DF inside there is none outside, and the outer header has an id of its own."""
    tunnel(director, 4, 4, "udp")
    ids = set()
    for _ in range(8):
        out = director.packet(udp(to_vip(4), df=False), hook)
        assert out.packet == wrapped(out, udp(to_vip(4), df=False, ttl=63), 4)
        ids.add(out.packet.ip_id)
    assert len(ids) > 1


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_replies_bypass_the_director(director: Director, hook: str, family: int, protocol: str, forward: str) -> None:
    """A packet from the service to the client that comes by all the same is none of our business."""
    director.serve(family, protocol, forward)
    director.packet(packet_of(protocol, to_vip(family)), hook)
    reply = packet_of(protocol, from_vip(family), "SA", link=to_server(1)[::-1])
    out = director.packet(reply, hook)
    assert (out.verdict, out.packet) == (PASS, reply)


def test_a_flow_keeps_its_method(director: Director, hook: str, family: int) -> None:
    """A server that is edited from route to ipip gets new flows by ipip, and old ones still by route."""
    director.serve(family, "tcp", "route")
    director.packet(tcp(to_vip(family), "S"), hook)
    director.serve(family, "tcp", "ipip")
    out = director.packet(tcp(to_vip(family), "A"), hook)
    assert out.packet == tcp(to_vip(family), "A", ttl=63, link=to_server(1))
    out = director.packet(tcp(to_vip(family, 4001), "S"), hook)
    assert out.packet == wrapped(out, tcp(to_vip(family, 4001), "S", ttl=63), family, df=family == 4)


def test_a_server_without_route_is_dropped_for(director: Director, family: int) -> None:
    """Without a route there is no way and no guess: XDP leaves it to TC, TC drops and says why."""
    far = {4: "203.0.113.9", 6: "2001:db8:ffff::9"}[family]
    director.service(f"{at(net.VIP[family], 80)}/tcp", f"{at(far, 80)} route")
    frame_in = tcp(to_vip(family), "S")
    assert director.packet(frame_in, "xdp").packet == frame_in
    assert director.packet(frame_in, "tc").verdict is DROP
    assert director.drops() == {"no_route": 1}
