"""ICMP errors of others that belong to a flow: they reach the side that sent the packet in question.

With nat the quote is translated too, and both IP checksums are right again;
the quoted transport checksum stays as it was, as IPVS leaves it.
"""

from __future__ import annotations

import pytest
from scapy.layers.inet import IPOption_NOP

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at, real
from tests.packet.errors import KINDS, error, translated
from tests.packet.frames import (
    FROM_CLIENT,
    TO_CLIENT,
    Ends,
    ends,
    frame,
    from_real,
    from_server,
    from_vip,
    ip_header,
    packet_of,
    tcp,
    to_real,
    to_server,
    to_vip,
    udp,
)

ROUTER = {4: "10.0.0.99", 6: "fd00::99"}
"""Some router between the director and the servers."""
HEADER = {4: 20, 6: 40}
SHORT, LONG = 8, 400
"""Bytes quoted behind the IP header: the least there may be, or much."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [SHORT, LONG])
def test_an_error_of_the_clients_side_reaches_the_server_behind_nat(
    director: Director, family: int, protocol: str, kind: str, length: int
) -> None:
    """Sent to the virtual address about a reply, it goes to the server, as if about what the server sent."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)))
    fields = {"payload": b"z" * 500, "ttl": 61}
    quote = packet_of(protocol, from_vip(family), "A", **fields)
    end = HEADER[family] + length
    way = ends(to_vip(family))
    out = director.packet(error(kind, way.src, way.dst, quote.ip[:end], mtu=1400, tos=0x20))
    assert out.packet == error(
        kind,
        way.src,
        net.server(family, 1),
        translated(quote, from_real(family), protocol, **fields)[:end],
        mtu=1400,
        tos=0x20,
        ttl=63,
        link=to_server(1),
    )
    assert out.verdict is SENT
    assert director.counters()["icmp_relayed"] == 1
    assert director.drops() == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [SHORT, LONG])
@pytest.mark.parametrize("sender", ["server", "router"])
def test_an_error_of_the_servers_side_reaches_the_client_of_nat(
    director: Director, family: int, protocol: str, kind: str, length: int, sender: str
) -> None:
    """From the server or a router, it comes to the client from the virtual address, about what the client sent."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)))
    fields = {"payload": b"z" * 500, "ttl": 62}
    quote = packet_of(protocol, to_real(family), "A", **fields)
    end = HEADER[family] + length
    src = net.server(family, 1) if sender == "server" else ROUTER[family]
    out = director.packet(
        error(kind, src, net.CLIENT[family], quote.ip[:end], mtu=1300, ttl=60, ip_id=5, link=from_server(1))
    )
    assert out.packet == error(
        kind,
        net.VIP[family],
        net.CLIENT[family],
        translated(quote, to_vip(family), protocol, **fields)[:end],
        mtu=1300,
        ttl=59,
        ip_id=5,
        link=TO_CLIENT,
    )
    assert out.verdict is SENT
    assert director.counters()["icmp_relayed"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_route_forwards_an_error_as_it_is(director: Director, family: int, protocol: str, kind: str) -> None:
    """The server owns the virtual address: only TTL and MACs change."""
    director.serve(family, protocol, "route")
    director.packet(packet_of(protocol, to_vip(family)))
    quote = packet_of(protocol, from_vip(family), "A", payload=b"z" * 100).ip
    way = ends(to_vip(family))
    out = director.packet(error(kind, way.src, way.dst, quote, mtu=1400))
    assert out.packet == error(kind, way.src, way.dst, quote, mtu=1400, ttl=63, link=to_server(1))
    assert out.verdict is SENT


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outer", [4, 6], ids=["in4", "in6"])
def test_ipip_wraps_an_error(director: Director, family: int, outer: int, protocol: str, kind: str) -> None:
    """The error reaches the server in a tunnel, as the client's packets do."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.server(outer, 1), 80)} ipip")
    director.packet(packet_of(protocol, to_vip(family)))
    quote = packet_of(protocol, from_vip(family), "A", payload=b"z" * 100).ip
    way = ends(to_vip(family))
    out = director.packet(error(kind, way.src, way.dst, quote, mtu=1400))
    inner = error(kind, way.src, way.dst, quote, mtu=1400, ttl=63)
    tunnel = Ends(net.DIRECTOR[outer], 0, net.server(outer, 1), 0)
    number = 4 if family == 4 else 41
    if outer == 4:
        header = ip_header(tunnel, ttl=63, df=False, id=out.packet.ip_id, proto=number)
    else:
        header = ip_header(tunnel, ttl=63, nh=number)
    assert out.packet == frame(header / inner.ip, to_server(1))


def test_xdp_leaves_errors_to_tc(director: Director, family: int) -> None:
    """XDP looks at no ICMP."""
    director.serve(family, "tcp")
    director.packet(tcp(to_vip(family), "S"), "xdp")
    way = ends(to_vip(family))
    there = error("unreachable", way.src, way.dst, tcp(from_vip(family), "A").ip)
    back = error("unreachable", net.server(family, 1), way.src, tcp(to_real(family), "A").ip, link=from_server(1))
    for sent in (there, back):
        out = director.packet(sent, "xdp")
        assert (out.verdict, out.packet) == (PASS, sent)


def test_errors_about_no_flow_pass(director: Director, hook: str, family: int, protocol: str) -> None:
    """About a connection that does not exist, or another protocol: the host's own affair."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)), hook)
    way = ends(to_vip(family))
    quotes = [
        packet_of(protocol, from_vip(family, 4001), "A"),
        packet_of("udp" if protocol == "tcp" else "tcp", from_vip(family), "A"),
        packet_of(protocol, from_vip(family).replace(":80 ", ":81 "), "A"),
        packet_of(protocol, to_vip(family), "A"),
    ]
    for quote in quotes:
        sent = error("unreachable", way.src, way.dst, quote.ip)
        out = director.packet(sent, hook)
        assert (out.verdict, out.packet) == (PASS, sent)
    for quote in (packet_of(protocol, to_real(family, 1, 4001), "A"), packet_of(protocol, to_real(family, 2), "A")):
        sent = error("unreachable", net.server(family, 1), way.src, quote.ip, link=from_server(1))
        out = director.packet(sent, hook)
        assert (out.verdict, out.packet) == (PASS, sent)
    assert director.drops() == {}


def test_other_messages_pass(director: Director, hook: str, family: int) -> None:
    """What is no error, or an error IPVS does not relay, is not looked into even if it seems to quote a flow."""
    director.serve(family, "tcp")
    director.packet(tcp(to_vip(family), "S"), hook)
    way = ends(to_vip(family))
    for kind in ("parameter", "redirect") if family == 4 else ("parameter", "echo"):
        sent = error(kind, way.src, way.dst, tcp(from_vip(family), "A").ip)
        out = director.packet(sent, hook)
        assert (out.verdict, out.packet) == (PASS, sent)


def test_a_quote_cut_short_anywhere_passes(director: Director, family: int, protocol: str) -> None:
    """Without the quoted ports there is no flow to find; with them the error is relayed whole."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)))
    way = ends(to_vip(family))
    quote = packet_of(protocol, from_vip(family), "A").ip
    for length in range(HEADER[family] + 4):
        sent = error("unreachable", way.src, way.dst, quote[:length])
        out = director.packet(sent)
        assert (out.verdict, out.packet) == (PASS, sent), f"{length} bytes quoted"
    assert director.packet(error("unreachable", way.src, way.dst, quote[: HEADER[family] + 4])).verdict is SENT


@pytest.mark.parametrize(("offset", "value"), [(0, 0x40), (0, 0x65), (0, 0x4F), (9, 50), (6, 0x20 | 0x05)])
def test_a_malformed_quote_passes(director: Director, offset: int, value: int) -> None:
    """A quote that is no IPv4 header, of another protocol or of a later fragment, tells of no flow."""
    director.serve(4, "udp")
    director.packet(udp(to_vip(4)))
    quote = bytearray(udp(from_vip(4)).ip)
    quote[offset] = value
    sent = error("unreachable", net.CLIENT[4], net.VIP[4], bytes(quote))
    out = director.packet(sent)
    assert (out.verdict, out.packet) == (PASS, sent)


def test_quoted_options_are_skipped(director: Director) -> None:
    """A quoted IPv4 header with options is translated as one without."""
    director.serve(4, "udp")
    director.packet(udp(to_vip(4)))
    fields = {"options": [IPOption_NOP()] * 12}
    quote = udp(from_vip(4), **fields)
    out = director.packet(error("unreachable", net.CLIENT[4], net.VIP[4], quote.ip))
    assert out.packet == error(
        "unreachable",
        net.CLIENT[4],
        net.server(4, 1),
        translated(quote, from_real(4), "udp", **fields),
        ttl=63,
        link=to_server(1),
    )


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_error_at_the_end_of_its_ttl_is_dropped(director: Director, family: int, side: str) -> None:
    """Nobody is told of an error about an error."""
    director.serve(family, "udp")
    director.packet(udp(to_vip(family)))
    way = ends(to_vip(family))
    if side == "client":
        sent = error("unreachable", way.src, way.dst, udp(from_vip(family)).ip, ttl=1)
    else:
        quote = udp(to_real(family)).ip
        sent = error("unreachable", net.server(family, 1), way.src, quote, ttl=1, link=from_server(1))
    assert director.packet(sent).verdict is DROP
    assert director.drops() == {"ttl": 1}


def test_an_error_for_a_deleted_server_is_dropped(director: Director, family: int) -> None:
    """As every packet of its flows."""
    director.serve(family, "udp")
    director.packet(udp(to_vip(family)))
    director.service(f"{at(net.VIP[family], 80)}/udp")
    way = ends(to_vip(family))
    assert director.packet(error("unreachable", way.src, way.dst, udp(from_vip(family)).ip)).verdict is DROP
    assert director.drops() == {"server_gone": 1}


def test_errors_are_counted_but_keep_no_flow_alive(director: Director, family: int) -> None:
    """They count as packets of the flow; its idle time and its state go on."""
    director.serve(family, "tcp")
    director.packet(tcp(to_vip(family), "S"))
    while (before := director.flows()[0]).idle < 20:  # until then an idle time that began anew would not show
        pass
    way = ends(to_vip(family))
    director.packet(error("unreachable", way.src, way.dst, tcp(from_vip(family), "A").ip))
    director.packet(
        error("unreachable", net.server(family, 1), way.src, tcp(to_real(family), "A").ip, link=from_server(1))
    )
    after = director.flows()[0]
    assert (after.idle >= before.idle, after.state) == (True, before.state)
    assert after.bytes[0] > before.bytes[0] and after.bytes[1] > before.bytes[1]
    assert director.stats(real(family))[1:3] == (2, 1)


def test_an_error_is_relayed_by_its_own_mac_only(director: Director, family: int) -> None:
    """A frame for another host is nobody's business, whatever it quotes."""
    director.serve(family, "udp")
    director.packet(udp(to_vip(family)))
    way = ends(to_vip(family))
    link = (FROM_CLIENT[0], "02:00:00:00:00:77")
    sent = error("unreachable", way.src, way.dst, udp(from_vip(family)).ip, link=link)
    out = director.packet(sent)
    assert (out.verdict, out.packet) == (PASS, sent)
