"""nat: the client's packet gets the real server's address and port, the reply the virtual ones."""

from __future__ import annotations

from tests.packet import sums
from tests.packet.director import SENT, Director, real
from tests.packet.frames import (
    TO_CLIENT,
    from_real,
    from_server,
    from_vip,
    packet_of,
    tcp,
    to_real,
    to_server,
    to_vip,
    udp,
)


def test_the_first_packet_opens_a_flow_and_is_translated(
    director: Director, hook: str, family: int, protocol: str
) -> None:
    """Destination address, port and MACs change, the TTL counts down; TOS, id and all else stay."""
    director.serve(family, protocol)
    out = director.packet(packet_of(protocol, to_vip(family), tos=0x4B), hook)
    assert out.packet == packet_of(protocol, to_real(family), tos=0x4B, ttl=63, link=to_server(1))
    assert out.verdict is SENT
    assert director.drops() == {}
    assert director.states() == ["SYN_RECV" if protocol == "tcp" else "UDP"]


def test_the_reply_comes_from_the_virtual_address(director: Director, hook: str, family: int, protocol: str) -> None:
    """The server's answer leaves with the service's address and port, its TTL counted down, towards the client."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)), hook)
    out = director.packet(packet_of(protocol, from_real(family), "SA", tos=0x10, link=from_server(1)), hook)
    assert out.packet == packet_of(protocol, from_vip(family), "SA", tos=0x10, ttl=63, link=TO_CLIENT)
    assert out.verdict is SENT
    assert director.drops() == {}


def test_a_flow_keeps_its_server(director: Director, hook: str, family: int, protocol: str) -> None:
    """Later packets of a flow are not scheduled: they follow the first."""
    director.service(to_service(family, protocol), f"{real(family, 'nat', 1)} nat", f"{real(family, 'nat', 2)} nat")
    first = director.packet(packet_of(protocol, to_vip(family)), hook)
    assert first.packet == packet_of(protocol, to_real(family, 2), ttl=63, link=to_server(2))
    for flags in ("A", "PA", "FA"):
        out = director.packet(packet_of(protocol, to_vip(family), flags), hook)
        assert out.packet == packet_of(protocol, to_real(family, 2), flags, ttl=63, link=to_server(2))
    other = director.packet(packet_of(protocol, to_vip(family, 4001)), hook)
    assert other.packet == packet_of(protocol, to_real(family, 1, 4001), ttl=63, link=to_server(1))


def test_both_hooks_see_the_same_flow(director: Director, family: int, protocol: str) -> None:
    """A flow that XDP opened is known to TC, and the other way round."""
    director.serve(family, protocol)
    for port, first, second in ((4000, "tc", "xdp"), (4001, "xdp", "tc")):
        director.packet(packet_of(protocol, to_vip(family, port)), first)
        out = director.packet(packet_of(protocol, from_real(family, 1, port), "SA", link=from_server(1)), second)
        assert out.packet == packet_of(protocol, from_vip(family, port), "SA", ttl=63, link=TO_CLIENT)
    assert director.counters() == {"flow_opened": 2, "tc_forwarded": 2, "xdp_forwarded": 2}


def test_packets_and_bytes_are_counted_both_ways(director: Director, hook: str, family: int, protocol: str) -> None:
    """Flow, server and service count connections, packets, and bytes from the IP header on."""
    director.serve(family, protocol)
    there = packet_of(protocol, to_vip(family), payload=b"x" * 100)
    back = packet_of(protocol, from_real(family), "SA", payload=b"y" * 33, link=from_server(1))
    for frame in (there, back, there, there, back):
        director.packet(frame, hook)
    counted = (1, 3, 2, 3 * len(there.ip), 2 * len(back.ip))
    assert director.stats(real(family)) == counted
    assert director.service_stats(to_service(family, protocol)) == counted
    assert [f.bytes for f in director.flows()] == [counted[3:5]]


def test_padding_of_a_short_frame_is_kept_and_not_counted(director: Director, hook: str, family: int) -> None:
    """Bytes that Ethernet added behind the packet are not part of it."""
    director.serve(family, "udp")
    out = director.packet(type(f := udp(to_vip(family), b""))(f + bytes(18)), hook)
    assert out.packet == type(f)(udp(to_real(family), b"", ttl=63, link=to_server(1)) + bytes(18))
    assert director.stats(real(family))[3] == len(f.ip)


def test_a_datagram_without_checksum_stays_without(director: Director, hook: str) -> None:
    """UDP over IPv4 with checksum 0 is translated and keeps its 0, both ways."""
    director.serve(4, "udp")
    out = director.packet(udp(to_vip(4), check=0), hook)
    assert out.packet == udp(to_real(4), ttl=63, check=0, link=to_server(1))
    out = director.packet(udp(from_real(4), check=0, link=from_server(1)), hook)
    assert out.packet == udp(from_vip(4), ttl=63, check=0, link=TO_CLIENT)


def test_a_checksum_of_zero_is_sent_as_all_ones(director: Director, hook: str, family: int) -> None:
    """A UDP sum that comes out as 0 after the translation is written 0xffff: 0 would mean that there is none."""
    director.serve(family, "udp")
    want = udp(to_real(family), bytes(2), ttl=63, link=to_server(1))
    start = sums.transport(want)[0]
    payload = want[start + 6 : start + 8]
    want = udp(to_real(family), payload, ttl=63, link=to_server(1))
    assert want[start + 6 : start + 8] == b"\xff\xff"
    assert director.packet(udp(to_vip(family), payload), hook).packet == want


def test_a_wrong_checksum_stays_wrong(director: Director, hook: str, family: int, protocol: str) -> None:
    """The director repairs no damaged packet: whoever receives it must see the damage."""
    director.serve(family, protocol)
    good = packet_of(protocol, to_vip(family))
    out = director.packet(good.with_byte(-1, good[-1] ^ 0x55), hook)
    assert not sums.is_right(out.packet)


def test_a_server_on_the_services_own_port_keeps_the_port(director: Director, hook: str, family: int) -> None:
    """Without port translation only the address changes."""
    director.service(to_service(family, "tcp"), f"{real(family, 'route', 1)} nat")
    out = director.packet(tcp(to_vip(family), "S"), hook)
    assert out.packet == tcp(to_real(family).replace("8080", "80"), "S", ttl=63, link=to_server(1))


def test_a_server_without_neighbour_entry_is_left_to_the_kernel_to_resolve(director: Director, family: int) -> None:
    """TC redirects and lets the kernel ask for the MAC; XDP leaves the packet to TC, with its flow open."""
    director.serve(family, "tcp", server=9)
    frame = tcp(to_vip(family), "S")
    out = director.packet(frame, "xdp")
    assert out.packet == frame
    assert director.counters() == {"flow_opened": 1, "xdp_punted": 1}
    out = director.packet(frame, "tc")
    assert (out.verdict, out.packet.ip) == (SENT, tcp(to_real(family, 9), "S", ttl=63).ip)
    assert director.counters() == {"flow_opened": 1, "xdp_punted": 1, "tc_forwarded": 1}
    assert director.stats(real(family, "nat", 9))[:2] == (1, 1)


def to_service(family: int, protocol: str) -> str:
    """Return the key of the service that `Director.serve` makes."""
    return f"{to_vip(family).split(' > ')[1]}/{protocol}"
