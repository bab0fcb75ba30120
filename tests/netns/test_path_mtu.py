"""A tunnel is narrower than the links it runs over: what the director tells the client about it, byte for byte.

    client ──┐           ┌── real1 (peer)
             ├─ switch ──┼── real2 (peer)
    director ┘           └── real3 (peer)

All links have an MTU of 1500 and the offloads that veth has by default, so
that the client's packets come large and with partial checksums.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.capture import Capture, Error, Packet
from tests.netns.lab import PEER, Lab
from tests.netns.peer import HEAD, seal
from xlvs.demo import netns
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until

TOLD = {4: 1480, 6: 1460}
QUOTED = {4: 576, 6: 1280}
"""The largest ICMP error (RFC 1812 §4.3.2.3, RFC 4443 §2.4)."""

KIND = {4: (3, 4), 6: (2, 0)}
UPLOAD = 4 << 20
LARGE = 1500
DONT_FRAGMENT = {
    4: (socket.IPPROTO_IP, 10, 2),  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
    6: (socket.IPPROTO_IPV6, 23, 2),  # IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO
}
PATH_MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}  # IP_MTU, IPV6_MTU


@pytest.fixture(scope="module", params=["tc", "xdp"])
def tunnels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory whose real servers are behind tunnels."""
    with Lab("ipip", request.param, tmp_path_factory.mktemp("tunnels")) as made:
        yield made


@pytest.fixture
def lab(tunnels: Lab, family: int) -> Lab:
    """Give out the laboratory with a client that has forgotten what it was told."""
    tunnels.warm_up(family)
    argv = ["ip", f"-{family}", "route", "flush", "cache"]
    assert netns.popen(tunnels.topology.client, argv).wait() == 0
    return tunnels


@pytest.fixture
def upload(tmp_path: Path, big_file: Path) -> Path:
    """Give out the beginning of the big file."""
    file = tmp_path / "upload"
    with big_file.open("rb") as source:
        file.write_bytes(source.read(UPLOAD))
    tmp_path.chmod(0o755)
    return file


def assert_well_formed(error: Error, family: int, client: str) -> None:
    """Check all of an error but its quote."""
    assert error.packet.addresses == (VIP[family], client)
    assert (error.kind, error.mtu) == (KIND[family], TOLD[family])
    assert len(error.packet.data) == error.packet.length <= QUOTED[family]
    assert error.packet.header_is_valid()
    assert error.packet.icmp_is_valid()


def comparable(packet: Packet) -> tuple[object, ...]:
    """Return what segmentation and one hop leave as it is: all of the IP header but length, TTL, id, checksum."""
    if packet.family == 4:
        return packet.data[:2], packet.data[6:8], packet.data[9:10], packet.addresses
    return packet.data[:4], packet.data[6:7], packet.addresses


def quotes_segment(quote: Packet, sent: Packet) -> bool:
    """Return whether *quote* is part of the TCP packet *sent*, which may have been segmented since."""
    if comparable(quote) != comparable(sent):
        return False
    (first, head), (mine, my_head) = segment(sent), segment(quote)
    place = (mine - first) & 0xFFFFFFFF
    data, quoted = sent.payload[len(head) :], quote.payload[len(my_head) :]
    fixed = [part[:4] + part[8:13] + part[14:16] + part[18:] for part in (head, my_head)]  # no seq, flags, checksum
    return place < len(data) and fixed[0] == fixed[1] and data[place : place + len(quoted)] == quoted


def segment(packet: Packet) -> tuple[int, bytes]:
    """Return a TCP packet's sequence number and header."""
    payload = packet.payload
    return struct.unpack_from("!I", payload, 4)[0], payload[: (payload[12] >> 4) * 4]


def test_upload_arrives_after_the_director_told_the_path_mtu(lab: Lab, family: int, upload: Path) -> None:
    """TCP with default offloads gets through, and the errors it got are what RFC 1191 and RFC 8201 ask for."""
    with Capture(lab.topology.client) as capture, lab.connect(family, PEER) as sock:
        client = sock.getsockname()[0]
        sock.sendall(f"PUT {upload} {UPLOAD}\n".encode() + upload.read_bytes())
        assert sock.recv(100) == b"same\n"
        assert sock.getsockopt(*PATH_MTU[family]) == TOLD[family]
        errors, sent = capture.errors(), [packet for packet in capture.sent() if packet.protocol == 6]
    assert errors
    for error in errors:
        assert_well_formed(error, family, client)
        assert error.quote.ttl == 63 and error.quote.header_is_valid()
        assert any(quotes_segment(error.quote, packet) for packet in sent)


def test_datagrams_that_may_not_be_fragmented_are_refused_until_they_fit(lab: Lab, family: int) -> None:
    """A datagram too large for the tunnel is answered, the next is refused at once, the largest that fits passes."""
    headers = (20 if family == 4 else 40) + 8 + HEAD.size
    large = seal(1, bytes(LARGE - headers))
    with Capture(lab.topology.client) as capture, lab.datagram_socket(family, PEER) as sock:
        sock.setsockopt(*DONT_FRAGMENT[family])
        sock.send(large)
        until(lambda: bool(capture.errors()), "no error came")
        with pytest.raises(OSError) as refused:
            sock.send(large)
        assert refused.value.errno == errno.EMSGSIZE  # because of what the route knows: the socket's error is kept
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EMSGSIZE
        assert sock.getsockopt(*PATH_MTU[family]) == TOLD[family]
        fits = seal(2, bytes(TOLD[family] - headers))
        sock.send(fits)
        assert sock.recv(65535) == fits
        client, port = sock.getsockname()[:2]
        errors, sent = capture.errors(), [packet for packet in capture.sent() if packet.protocol == 17]
    assert len(errors) == 1
    assert_well_formed(errors[0], family, client)
    quote, original = errors[0].quote, sent[0]
    assert (quote.ports, quote.length, quote.ttl) == ((port, PEER), LARGE, 63)
    assert quote.header_is_valid()
    assert comparable(quote) == comparable(original)
    assert len(errors[0].packet.data) == QUOTED[family]
    assert quote.payload[8:] == original.payload[8 : len(quote.payload)]
