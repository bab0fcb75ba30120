"""ICMP errors that the director sends, in the name of the virtual address; XDP leaves them all to TC."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IPOption_NOP
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, PadN

from tests.packet import network as net
from tests.packet import sums
from tests.packet.director import DROP, PASS, SENT, Director, Out, at, real
from tests.packet.errors import QUOTE, error
from tests.packet.frames import (
    TO_CLIENT,
    Frame,
    from_real,
    from_server,
    packet_of,
    tcp,
    to_real,
    to_server,
    to_vip,
    udp,
)

FORWARDS = ("nat", "route", "ipip")
HEADER = {4: 20, 6: 40}


def told(out: Out, kind: str, family: int, quoted: Frame, *, mtu: int = 0, tos: int = 0) -> Frame:
    """Return the error that tells the client about *quoted*."""
    tos = (tos & 0x1E) | 0xC0 if family == 4 else 0
    quote = quoted.ip[: QUOTE[family]]
    return error(
        kind,
        net.VIP[family],
        net.CLIENT[family],
        quote,
        mtu=mtu,
        tos=tos,
        ip_id=out.packet.ip_id,
        link=TO_CLIENT,
    )


def whole(family: int, protocol: str, size: int, way: str = "", **fields: object) -> Frame:
    """Return a packet of *size* bytes from the IP header on."""
    header = HEADER[family] + (20 if protocol == "tcp" else 8)
    return packet_of(protocol, way or to_vip(family), payload=bytes(i % 251 for i in range(size - header)), **fields)


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("tos", [0, 0x48, 0xFF])
def test_a_packet_at_the_end_of_its_ttl_is_answered(
    director: Director, family: int, protocol: str, forward: str, tos: int
) -> None:
    """TTL 1: time exceeded from the virtual address, quoting the packet as it came; the flow is there all the same."""
    director.serve(family, protocol, forward)
    sent = packet_of(protocol, to_vip(family), ttl=1, tos=tos)
    out = director.packet(sent)
    assert out.packet == told(out, "time-exceeded", family, sent, tos=tos)
    assert out.verdict is SENT
    assert director.drops() == {"ttl": 1}
    assert director.counters() == {"flow_opened": 1, "icmp_sent": 1}


@pytest.mark.parametrize("forward", FORWARDS)
@pytest.mark.parametrize("ttl", [0, 1])
def test_xdp_leaves_the_answer_to_tc(director: Director, family: int, protocol: str, forward: str, ttl: int) -> None:
    """XDP opens the flow, and passes the packet on untouched."""
    director.serve(family, protocol, forward)
    sent = packet_of(protocol, to_vip(family), ttl=ttl)
    out = director.packet(sent, "xdp")
    assert (out.verdict, out.packet) == (PASS, sent)
    assert director.counters() == {"flow_opened": 1, "xdp_punted": 1}


def test_a_packet_with_ttl_two_is_forwarded(director: Director, hook: str, family: int, protocol: str) -> None:
    """It is the server's to find that nothing is left."""
    director.serve(family, protocol)
    out = director.packet(packet_of(protocol, to_vip(family), ttl=2), hook)
    assert out.packet == packet_of(protocol, to_real(family), ttl=1, link=to_server(1))


@pytest.mark.parametrize("servers", [(), ("w=0",)])
def test_without_a_server_the_port_is_unreachable(
    director: Director, family: int, protocol: str, servers: tuple[str, ...]
) -> None:
    """No server, or none with a weight: port unreachable, for TCP too, and no flow."""
    key = f"{at(net.VIP[family], 80)}/{protocol}"
    director.service(key, *(f"{real(family)} nat {words}" for words in servers))
    sent = packet_of(protocol, to_vip(family), tos=0x10)
    assert director.packet(sent, "xdp").packet == sent
    out = director.packet(sent)
    assert out.packet == told(out, "unreachable", family, sent, tos=0x10)
    assert out.verdict is SENT
    assert director.drops() == {"no_server": 1}
    assert director.live() == 0


@pytest.mark.parametrize(("outer", "mtu"), [(4, 1480), (6, 1460)])
def test_a_packet_too_big_for_the_tunnel_is_answered(
    director: Director, family: int, protocol: str, outer: int, mtu: int
) -> None:
    """What fits is told, the quote shows the TTL as counted down, cut at 548 or 1232 bytes."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.server(outer, 1), 80)} ipip")
    for size in (mtu + 1, 1500):
        sent = whole(family, protocol, size)
        assert director.packet(sent, "xdp").packet == sent
        out = director.packet(sent)
        assert out.packet == told(out, "too-big", family, whole(family, protocol, size, ttl=63), mtu=mtu)
        assert out.verdict is SENT
    assert director.drops() == {"too_big": 2}
    for hook in ("tc", "xdp"):
        out = director.packet(whole(family, protocol, mtu), hook)
        assert (out.verdict, len(out.packet)) == (SENT, 14 + 1500)


@pytest.mark.parametrize("forward", ["nat", "route"])
def test_a_packet_too_big_for_the_link_is_answered(
    director: Director, family: int, protocol: str, forward: str
) -> None:
    """A server behind a link of MTU 1300: packets of 1301 bytes that may not be fragmented are answered."""
    director.serve(family, protocol, forward, server=11)
    sent = whole(family, protocol, 1301)
    assert director.packet(sent, "xdp").packet == sent
    out = director.packet(sent)
    assert out.packet == told(out, "too-big", family, whole(family, protocol, 1301, ttl=63), mtu=1300)
    for hook in ("tc", "xdp"):
        assert director.packet(whole(family, protocol, 1300), hook).verdict is SENT


def test_nat_leaves_fragmenting_to_the_stack(director: Director, protocol: str) -> None:
    """An IPv4 packet without DF that is too big is translated and passed on: the stack cuts it up."""
    director.serve(4, protocol, "nat", server=11)
    out = director.packet(whole(4, protocol, 1301, df=False))
    assert out.packet == whole(4, protocol, 1301, to_real(4, 11), df=False)
    assert out.verdict is PASS
    assert director.stats(real(4, "nat", 11))[:2] == (1, 1)


def test_a_short_packet_is_quoted_whole(director: Director, family: int) -> None:
    """Padding behind the packet is not quoted."""
    director.serve(family, "udp")
    sent = udp(to_vip(family), b"", ttl=1)
    out = director.packet(Frame(sent + bytes(18)))
    assert out.packet == told(out, "time-exceeded", family, sent)


@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_the_quote_ends_where_it_must(director: Director, family: int, extra: int) -> None:
    """A packet of just the size of the longest quote, one byte less or one more."""
    director.serve(family, "udp")
    sent = whole(family, "udp", QUOTE[family] + extra, ttl=1)
    out = director.packet(sent)
    assert out.packet == told(out, "time-exceeded", family, sent)


def test_options_are_quoted(director: Director) -> None:
    """An IPv4 header with options is quoted with them, and answered without."""
    director.serve(4, "udp")
    sent = udp(to_vip(4), b"x" * 600, ttl=1, options=[IPOption_NOP()] * 20)
    out = director.packet(sent)
    assert out.packet == told(out, "time-exceeded", 4, sent)


@pytest.mark.parametrize("forward", ["nat", "route"])
def test_the_size_is_judged_on_segments(director: Director, family: int, forward: str) -> None:
    """A GSO packet larger than the MTU of 1300 goes if its segments fit, and is answered otherwise."""
    director.serve(family, "tcp", forward, server=11)
    director.packet(tcp(to_vip(family), "S"))
    room = 1300 - HEADER[family] - 20
    sent = whole(family, "tcp", 3000, flags="A")
    way = to_real(family, 11) if forward == "nat" else to_vip(family)
    out = director.packet(sent, gso_size=room)
    assert out.packet == whole(family, "tcp", 3000, way, flags="A", ttl=63, link=to_server(11))
    out = director.packet(sent, gso_size=room + 1)
    assert out.packet == told(out, "too-big", family, whole(family, "tcp", 3000, flags="A", ttl=63), mtu=1300)


def test_segments_are_judged_with_their_outer_header(director: Director, family: int) -> None:
    """In a tunnel every segment carries the outer header, and its own IP and TCP headers."""
    director.serve(family, "tcp", "ipip")
    director.packet(tcp(to_vip(family), "S"))
    mtu = 1500 - HEADER[family]
    sent = whole(family, "tcp", 3000, flags="A")
    out = director.packet(sent, gso_size=mtu - HEADER[family] - 20 + 1)
    assert out.packet == told(out, "too-big", family, whole(family, "tcp", 3000, flags="A", ttl=63), mtu=mtu)
    director.packet(sent, gso_size=mtu - HEADER[family] - 20)
    # A test run cannot say that the segments are TCP's, and without that the kernel lets nobody grow them.
    assert director.drops() == {"too_big": 1, "no_headroom": 1}


def test_segments_through_nat_may_fill_the_mtu(director: Director, family: int) -> None:
    """nat adds nothing: segments of the MTU's size pass."""
    director.serve(family, "tcp")
    director.packet(tcp(to_vip(family), "S"))
    sent = whole(family, "tcp", 3000)
    out = director.packet(sent, gso_size=1500 - HEADER[family] - 20)
    assert out.packet == whole(family, "tcp", 3000, to_real(family), ttl=63, link=to_server(1))


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_reply_at_the_end_of_its_ttl_is_answered_to_the_server(director: Director, family: int, ttl: int) -> None:
    """The director's own address tells the real server."""
    director.serve(family, "tcp")
    director.packet(tcp(to_vip(family), "S"))
    sent = tcp(from_real(family), "SA", ttl=ttl, link=from_server(1))
    assert director.packet(sent, "xdp").packet == sent
    out = director.packet(sent)
    tos = 0xC0 if family == 4 else 0
    assert out.packet == error(
        "time-exceeded",
        net.DIRECTOR[family],
        net.server(family, 1),
        sent.ip,
        tos=tos,
        ip_id=out.packet.ip_id,
        link=to_server(1),
    )
    assert director.drops() == {"ttl": 1}


def test_a_reply_too_big_for_the_clients_link_is_answered_to_the_server(director: Director, family: int) -> None:
    """The client is behind a link of MTU 1300: the real server is told 1300, and sees its own addresses quoted."""
    director.serve(family, "tcp")
    client = net.server(family, 12)
    way = f"{at(client, 4000)} > {at(net.VIP[family], 80)}"
    director.packet(tcp(way, "S", link=from_server(12)))
    back = f"{real(family)} > {at(client, 4000)}"
    sent = whole(family, "tcp", 1301, back, flags="A", link=from_server(1))
    out = director.packet(sent)
    quoted = whole(family, "tcp", 1301, back, flags="A", ttl=63)
    assert out.packet == error(
        "too-big",
        net.DIRECTOR[family],
        net.server(family, 1),
        quoted.ip[: QUOTE[family]],
        mtu=1300,
        tos=0xC0 if family == 4 else 0,
        ip_id=out.packet.ip_id,
        link=to_server(1),
    )


def test_errors_are_limited(director: Director, family: int) -> None:
    """So many answers a second and CPU; what is more is dropped in silence, for a reason of its own."""
    director.serve(family, "udp")
    director.configure(icmp_per_second=0)
    assert director.packet(udp(to_vip(family), ttl=1)).verdict is DROP
    assert director.drops() == {"icmp_limit": 1}
    director.configure(icmp_per_second=3)
    verdicts = [director.packet(udp(to_vip(family), ttl=1)).verdict for _ in range(50)]
    assert {SENT, DROP} == set(verdicts)
    assert director.counters()["icmp_sent"] == director.drops()["ttl"] == verdicts.count(SENT)


@pytest.mark.parametrize("source", ["0.1.2.3", "224.0.0.5", "255.255.255.255", "[::]", "[ff02::1]"])
def test_nobody_answers_to_a_group(director: Director, source: str) -> None:
    """An address that is not one host's gets no error (RFC 1122 §3.2.2, RFC 4443 §2.4)."""
    family = 6 if "[" in source else 4
    director.service(f"{at(net.VIP[family], 80)}/udp")
    out = director.packet(udp(f"{source}:4000 > {at(net.VIP[family], 80)}"))
    assert out.verdict is DROP
    assert director.drops() == {"no_server": 1}
    assert director.counters() == {}


@pytest.mark.parametrize("size", [0, 1, 2, 3, 64, 65, 511, 512, 513, 1100, 1101, 1203, 1204, 1300])
def test_a_partial_checksum_in_the_quote_is_settled(director: Director, family: int, protocol: str, size: int) -> None:
    """Whoever completes the checksum of the packet that our answer was made from changes no byte of the answer.

    The mark that a checksum is partial stays with the packet, so the interface
    it leaves by sums from the quoted transport header to the end, and writes
    the complement into the quoted field.
    """
    director.service(f"{at(net.VIP[family], 80)}/{protocol}")
    for byte in (0x00, 0xFF, 0x5A):
        sent = sums.partial(packet_of(protocol, to_vip(family), payload=bytes([byte]) * size))
        out = director.packet(sent)
        assert sums.is_right(out.packet), "the answer's own checksum"
        start = sums.transport(sent)[0] + HEADER[family] + 8
        field = start + sums.FIELD[sums.transport(sent)[1]]
        have = out.packet[field : field + 2]
        want = told(out, "unreachable", family, Frame(sums.set_check(sent, int.from_bytes(have, "big"))))
        assert out.packet == want
        assert (0xFFFF - sums.ones_sum(out.packet[start:]) or 0xFFFF).to_bytes(2, "big") == have


def test_a_settled_checksum_is_never_zero(director: Director, family: int) -> None:
    """A sum that is completed to nothing is written 0xffff by the kernel, so that is what settles it."""
    director.service(f"{at(net.VIP[family], 80)}/udp")
    sent = udp(to_vip(family), bytes(2))
    start = sums.transport(sent)[0]
    payload = 0xFFFF - sums.ones_sum(sums.set_check(sent, 0)[start:])
    sent = sums.partial(udp(to_vip(family), payload.to_bytes(2, "big")))
    assert sums.ones_sum(sums.set_check(sent, 0)[start:]) == 0xFFFF
    out = director.packet(sent)
    field = start + HEADER[family] + 8 + 6
    assert out.packet[field : field + 2] == b"\xff\xff"
    assert sums.is_right(out.packet)


def test_an_extension_header_is_quoted(director: Director) -> None:
    """The quote begins with the IPv6 header, whatever follows it."""
    director.serve(6, "udp")
    sent = udp(to_vip(6), ttl=1, ext=IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(4))]))
    out = director.packet(sent)
    assert out.packet == told(out, "time-exceeded", 6, sent)
