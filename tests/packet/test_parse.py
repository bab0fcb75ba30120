"""parse: what is whole is read whatever its options, what is not whole or not ours passes untouched."""

from __future__ import annotations

import pytest
from scapy.layers.dns import DNS, DNSQR
from scapy.layers.inet import ICMP, IP, IPOption_NOP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLReport,
    ICMPv6ND_NS,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from tests.packet import network as net
from tests.packet import sums
from tests.packet.director import PASS, SENT, Director
from tests.packet.frames import (
    TO_CLIENT,
    Frame,
    frame,
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

PAD = [PadN(optdata=bytes(4))]
EXTENSIONS = {
    "hop-by-hop": lambda: IPv6ExtHdrHopByHop(options=PAD),
    "destination": lambda: IPv6ExtHdrDestOpt(options=PAD),
    "long-destination": lambda: IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(60))]),
    "routing": lambda: IPv6ExtHdrRouting(segleft=0, addresses=[]),
    "atomic-fragment": lambda: IPv6ExtHdrFragment(id=77, m=0, offset=0),
    "four": lambda: (
        IPv6ExtHdrHopByHop(options=PAD)
        / IPv6ExtHdrDestOpt(options=PAD)
        / IPv6ExtHdrRouting(segleft=0, addresses=[])
        / IPv6ExtHdrDestOpt(options=PAD)
    ),
}


def passes(director: Director, one: Frame, hook: str, **more: str) -> None:
    """Assert that the frame comes out as it went in, and that nothing was noted of it."""
    out = director.packet(one, hook, **more)
    assert out.packet == one
    assert out.verdict is PASS
    assert director.flows() == []
    assert director.drops() == {}
    assert director.counters() == {}


@pytest.mark.parametrize("options", [1, 4, 20, 40])
@pytest.mark.parametrize("forward", ["nat", "route"])
def test_ipv4_options_are_kept(director: Director, hook: str, protocol: str, options: int, forward: str) -> None:
    """A header with up to 40 bytes of options is translated as one without."""
    director.serve(4, protocol, forward)
    some = [IPOption_NOP()] * options
    out = director.packet(packet_of(protocol, to_vip(4), options=some), hook)
    way = to_real(4) if forward == "nat" else to_vip(4)
    assert out.packet == packet_of(protocol, way, options=some, ttl=63, link=to_server(1))
    assert out.verdict is SENT


@pytest.mark.parametrize("name", EXTENSIONS)
def test_ipv6_extension_headers_are_skipped(director: Director, hook: str, protocol: str, name: str) -> None:
    """The ports behind extension headers are found, both ways, and the headers stay."""
    director.serve(6, protocol)
    out = director.packet(packet_of(protocol, to_vip(6), ext=EXTENSIONS[name]()), hook)
    assert out.packet == packet_of(protocol, to_real(6), ext=EXTENSIONS[name](), ttl=63, link=to_server(1))
    reply = packet_of(protocol, from_real(6), "SA", ext=EXTENSIONS[name](), link=from_server(1))
    out = director.packet(reply, hook)
    assert out.packet == packet_of(protocol, from_vip(6), "SA", ext=EXTENSIONS[name](), ttl=63, link=TO_CLIENT)


def destination_options(count: int) -> Packet:
    """Return so many extension headers in a row."""
    found: Packet = IPv6ExtHdrDestOpt(options=PAD)
    for _ in range(count - 1):
        found = found / IPv6ExtHdrDestOpt(options=PAD)
    return found


def test_too_many_extension_headers_pass(director: Director, hook: str) -> None:
    """Our patience ends after six; the host's stack has its own."""
    director.serve(6, "udp")
    passes(director, udp(to_vip(6), ext=destination_options(7)), hook)
    out = director.packet(udp(to_vip(6), ext=destination_options(6)), hook)
    assert out.packet == udp(to_real(6), ext=destination_options(6), ttl=63, link=to_server(1))


def test_extension_headers_longer_than_our_view_pass(director: Director, hook: str) -> None:
    """A header that pushes the ports out of the bytes we look at is left to the stack."""
    director.serve(6, "udp")
    passes(director, udp(to_vip(6), bytes(300), ext=IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(200))])), hook)


def test_tcp_options_are_kept(director: Director, hook: str, family: int) -> None:
    """A TCP header of 60 bytes is translated as one of 20."""
    director.serve(family, "tcp")
    options = [("MSS", 1460), ("Timestamp", (1, 2)), ("WScale", 7)] + [("NOP", None)] * 23
    out = director.packet(tcp(to_vip(family), "S", tcp_options=options), hook)
    assert out.packet == tcp(to_real(family), "S", tcp_options=options, ttl=63, link=to_server(1))
    assert sums.transport(out.packet)[0] + 60 == len(out.packet)


@pytest.mark.parametrize("forward", ["nat", "ipip"])
def test_a_packet_cut_short_anywhere_passes(
    director: Director, hook: str, family: int, protocol: str, forward: str
) -> None:
    """Whatever is missing at its end, a packet that is not whole is left as it is, for the stack to judge."""
    director.serve(family, protocol, forward)
    whole = packet_of(protocol, to_vip(family), payload=b"0123456789")
    shortest = 14 + (20 if family == 4 else 40)
    for length in range(14, len(whole)):
        try:
            out = director.packet(Frame(whole[:length]), hook)
        except OSError:
            assert length < shortest, f"the kernel itself refuses a test run with {length} bytes"
            continue
        assert (out.verdict, out.packet) == (PASS, whole[:length]), f"{length} bytes"
    assert director.flows() == []
    assert director.packet(whole, hook).verdict is SENT


@pytest.mark.parametrize("length", [14, 20, 33, 34, 54, 60, 200])
def test_zeros_and_ones_pass(director: Director, hook: str, length: int) -> None:
    """Frames of nothing but one byte value, of any type, are not ours."""
    director.serve(4, "tcp")
    for value in (0x00, 0xFF, 0x45, 0x60):
        for kind in (b"\x08\x00", b"\x86\xdd"):
            one = Frame(
                bytes.fromhex(net.OUTSIDE_MAC.replace(":", "")) + bytes(6) + kind + bytes([value] * (length - 14))
            )
            try:
                out = director.packet(one, hook)
            except OSError:
                continue
            assert (out.verdict, out.packet) == (PASS, one)


V4_LENGTH, V4_BEGIN, V6_BEGIN, V6_LENGTH, TCP_OFFSET_V4, TCP_OFFSET_V6 = 16, 14, 14, 18, 46, 66


@pytest.mark.parametrize(
    ("family", "offset", "value"),
    [
        (4, V4_BEGIN, 0x44),  # header length 16
        (4, V4_BEGIN, 0x40),
        (4, V4_BEGIN, 0x65),  # version 6 in a frame of type IPv4
        (4, V4_BEGIN, 0x4F),  # header longer than the packet
        (4, V4_LENGTH, 0x07),  # total length beyond the frame
        (4, V4_LENGTH + 1, 19),  # shorter than the header
        (4, V4_LENGTH + 1, 39),  # shorter than header and TCP header
        (4, TCP_OFFSET_V4, 0x40),  # TCP header length 16
        (4, TCP_OFFSET_V4, 0x00),
        (4, TCP_OFFSET_V4, 0xF0),  # TCP header longer than the packet
        (6, V6_BEGIN, 0x40),
        (6, V6_LENGTH, 0x07),
        (6, V6_LENGTH + 1, 19),
        (6, TCP_OFFSET_V6, 0x40),
        (6, TCP_OFFSET_V6, 0xF0),
    ],
)
def test_malformed_packets_pass(director: Director, hook: str, family: int, offset: int, value: int) -> None:
    """A header that contradicts itself or the frame is the stack's to judge and count."""
    director.serve(family, "tcp")
    passes(director, tcp(to_vip(family), "S").with_byte(offset, value), hook)


def zero_length(one: Frame) -> Frame:
    """Return the frame with an IP length of 0 (and an IPv4 header checksum that fits)."""
    raw = bytearray(one)
    at = 16 if raw[14] >> 4 == 4 else 18
    raw[at : at + 2] = bytes(2)
    if at == 16:
        raw[24:26] = bytes(2)
        raw[24:26] = (0xFFFF - sums.ones_sum(bytes(raw[14:34]))).to_bytes(2, "big")
    return Frame(raw)


def test_a_length_of_zero_passes(director: Director, hook: str, family: int, protocol: str) -> None:
    """An IP packet that says it has no length at all is malformed like any other."""
    director.serve(family, protocol)
    passes(director, zero_length(packet_of(protocol, to_vip(family))), hook)


def test_a_gso_packet_may_be_too_long_for_its_length(director: Director, family: int) -> None:
    """Past 64 KiB the field is 0 (BIG TCP), and the packet is as long as its frame."""
    director.serve(family, "tcp")
    sent = zero_length(tcp(to_vip(family), "S", bytes(2000)))
    out = director.packet(sent, gso_size=1000)
    assert out.packet == zero_length(tcp(to_real(family), "S", bytes(2000), ttl=63, link=to_server(1)))
    assert director.flows()[0].bytes == (len(sent.ip), 0)


def test_a_datagram_shorter_than_its_header_passes(director: Director, hook: str) -> None:
    """An IPv4 length that ends inside the UDP header makes no datagram."""
    director.serve(4, "udp")
    passes(director, udp(to_vip(4)).with_byte(17, 27), hook)


def icmp_echo(family: int) -> Packet:
    """An echo request to the VIP."""
    if family == 4:
        return IP(src=net.CLIENT[4], dst=net.VIP[4]) / ICMP() / Raw(b"echo")
    return IPv6(src=net.CLIENT[6], dst=net.VIP[6]) / ICMPv6EchoRequest(data=b"echo")


@pytest.mark.parametrize("family", [4, 6])
def test_an_echo_request_to_the_vip_passes(director: Director, hook: str, family: int) -> None:
    """The host answers pings to its virtual address itself."""
    director.serve(family, "tcp")
    passes(director, frame(icmp_echo(family)), hook)


def test_arp_and_neighbour_discovery_pass(director: Director, hook: str) -> None:
    """Nothing that finds neighbours is touched."""
    director.serve(4, "udp")
    director.serve(6, "udp")
    ask = ARP(op=1, hwsrc=net.CLIENT_MAC, psrc=net.CLIENT[4], pdst=net.VIP[4])
    passes(director, Frame(bytes(Ether(src=net.CLIENT_MAC, dst="ff:ff:ff:ff:ff:ff") / ask)), hook)
    passes(director, Frame(bytes(Ether(src=net.CLIENT_MAC, dst=net.OUTSIDE_MAC) / ask)), hook)
    solicit = IPv6(src=net.CLIENT[6], dst=net.VIP[6], hlim=255) / ICMPv6ND_NS(tgt=net.VIP[6])
    passes(director, frame(solicit), hook)
    multicast = IPv6(src=net.CLIENT[6], dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=net.VIP[6])
    passes(director, frame(multicast, (net.CLIENT_MAC, "33:33:ff:00:00:01")), hook)
    report = IPv6(src=net.CLIENT[6], dst="ff02::2", hlim=1) / ICMPv6MLReport(mladdr="ff02::5")
    passes(director, frame(report, (net.CLIENT_MAC, "33:33:00:00:00:02")), hook)


def test_tagged_frames_pass(director: Director, hook: str, family: int) -> None:
    """A tagged frame is for the VLAN device above, which has a hook of its own."""
    director.serve(family, "tcp")
    inner = tcp(to_vip(family), "S").decoded()
    tagged = Ether(src=net.CLIENT_MAC, dst=net.OUTSIDE_MAC) / Dot1Q(vlan=7) / inner.payload
    passes(director, Frame(bytes(tagged)), hook)


@pytest.mark.parametrize("to", ["02:00:00:00:00:77", "ff:ff:ff:ff:ff:ff", net.INSIDE_MAC])
def test_a_frame_for_another_mac_passes(director: Director, hook: str, family: int, protocol: str, to: str) -> None:
    """A bridge port sees frames that another hook will balance, and leaves them alone."""
    director.serve(family, protocol)
    one = packet_of(protocol, to_vip(family), link=(net.CLIENT_MAC, to))
    passes(director, one, hook, device="outside")


def test_an_interface_that_xdp_does_not_know_is_not_ours(director: Director, family: int) -> None:
    """XDP knows a frame for this host only by the MAC in its map; without one it keeps out."""
    director.serve(family, "tcp")
    director.forget_interface("outside")
    passes(director, tcp(to_vip(family), "S"), "xdp")


def test_other_addresses_ports_and_protocols_pass(director: Director, hook: str, family: int, protocol: str) -> None:
    """The service is protocol, address and port; what differs in one of them is not it."""
    director.serve(family, protocol)
    passes(director, packet_of(protocol, to_vip(family).replace("2.1", "2.2").replace("8::1", "8::2")), hook)
    passes(director, packet_of(protocol, to_vip(family)[:-2] + "81"), hook)
    passes(director, packet_of("udp" if protocol == "tcp" else "tcp", to_vip(family)), hook)


def test_other_transport_protocols_pass(director: Director, hook: str) -> None:
    """Protocols without ports of ours, such as GRE and IP in IP, are the host's own affair."""
    director.serve(4, "udp")
    for number in (2, 4, 41, 47, 50, 132, 255):
        passes(director, frame(IP(src=net.CLIENT[4], dst=net.VIP[4], proto=number) / Raw(bytes(40))), hook)


def test_traffic_of_a_real_server_that_is_no_reply_passes(director: Director, hook: str, family: int) -> None:
    """A real server's own connections through this router are routed by the kernel."""
    director.serve(family, "udp")
    passes(director, udp(from_real(family).replace("8080", "53"), link=from_server(1)), hook)
    passes(director, udp(from_real(family), bytes(DNS(qd=DNSQR())), link=from_server(1)), hook)


def test_checksums_are_not_looked_at(director: Director, hook: str) -> None:
    """A wrong IPv4 header checksum stays as wrong as it was: the next router drops the packet."""
    director.serve(4, "tcp")
    good = tcp(to_vip(4), "S")
    out = director.packet(good.with_byte(24, good[24] ^ 0x40), hook)
    assert not sums.is_right(out.packet)
