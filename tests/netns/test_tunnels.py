"""gue and gre, with and without checksums in the outer header, from clients with the offloads that veth has by default.

    client ──┐           ┌── real1 (peer)
             ├─ switch ──┼── real2 (peer)
    director ┘           └── real3 (peer)

The client sends packets of up to 64 KiB with partial checksums.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import PEER, TUNNEL_PORT, Lab
from tests.netns.peer import seal
from tests.packet.sums import ones_sum
from xlvs.demo import netns

UPLOAD = 16 << 20
SNIFFED = 400
ETH_P_ALL = 3
AT = {0x0800: 20, 0x86DD: 40}


@pytest.fixture(
    scope="module",
    params=[("gue", "none"), ("gue", "full"), ("gue", "remote"), ("gre", "none"), ("gre", "full")],
    ids="-".join,
)
def tunnels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory whose real servers are behind such tunnels."""
    forward, checksum = request.param
    with Lab(forward, "tc", tmp_path_factory.mktemp("tunnels"), checksum=checksum) as made:
        yield made


def sniffer(lab: Lab) -> socket.socket:
    """Return a socket that hears what comes to the first real server's link."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind(("eth0", 0))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE
        return sock

    return netns.inside(lab.topology.servers[0], make)


def outer_sum(frame: bytes) -> str:
    """Say whether the checksum of a tunnel's outer header is "right", "wrong" or "none"; "" of any other packet.

    A partial inner checksum counts as completed: its field and what follows sum to the complement of the pseudo-header.
    """
    at = 14 + AT.get(int.from_bytes(frame[12:14], "big"), 1000)
    if at > 60:
        return ""
    protocol = frame[23] if at == 34 else frame[20]
    addresses = frame[26:34] if at == 34 else frame[22:54]
    payload = frame[at:]
    is_gue = protocol == 17 and payload[2:4] == struct.pack("!H", TUNNEL_PORT)
    if protocol == 47 and payload[0] & 0x80:
        inner, head = payload[8:], b""
    elif is_gue and any(payload[6:8]):
        inner, head = payload[12 + (payload[8] & 31) * 4 :], addresses + struct.pack("!HH", 17, len(payload))
    else:
        return "none" if protocol == 47 or is_gue else ""
    right = ones_sum(head + payload) == 0xFFFF or ones_sum(head + completed(payload, inner)) == 0xFFFF
    return "right" if right else "wrong"


def completed(payload: bytes, inner: bytes) -> bytes:
    """Return *payload* with the transport checksum of the packet in it completed."""
    v4 = inner[0] >> 4 == 4
    at, protocol = (20, inner[9]) if v4 else (40, inner[6])
    addresses = inner[12:20] if v4 else inner[8:40]
    field = at + (16 if protocol == 6 else 6)
    segment = inner[at:field] + bytes(2) + inner[field + 2 :]
    check = ~ones_sum(addresses + struct.pack("!HH", protocol, len(segment)) + segment) & 0xFFFF
    place = len(payload) - len(inner) + field
    return payload[:place] + struct.pack("!H", check) + payload[place + 2 :]


def test_upload_and_download_are_the_same(tunnels: Lab, family: int, big_file: Path, tmp_path: Path) -> None:
    """Large packets arrive in segments, each with a right outer checksum if there are to be some."""
    tunnels.warm_up(family)
    tmp_path.chmod(0o755)
    file = tmp_path / "upload"
    with big_file.open("rb") as source:
        file.write_bytes(source.read(UPLOAD))
    heard: set[str] = set()
    for _ in range(3):  # each server once
        with sniffer(tunnels) as sniff, tunnels.connect(family, PEER) as sock:
            sock.sendall(f"PUT {file} {UPLOAD}\n".encode() + file.read_bytes())
            assert sock.recv(100) == b"same\n"
            for _ in range(SNIFFED):
                try:
                    frame, (_, _, kind, *_) = sniff.recvfrom(1 << 17)
                except BlockingIOError:
                    break
                if kind != 4:  # PACKET_OUTGOING
                    heard.add(outer_sum(frame))
    assert heard - {""} == {"none" if tunnels.checksum == "none" else "right"}
    counters = tunnels.director.ask("counters")
    assert counters["tc_forwarded"]


def test_a_datagram_in_fragments_comes_back_whole(tunnels: Lab, family: int) -> None:
    """Each of six fragments is wrapped, and cut once more on its way where it does not fit (IPv4)."""
    tunnels.warm_up(family)
    with tunnels.datagram_socket(family, PEER) as sock:
        for number in range(12):
            datagram = seal(number, bytes([number]) * 8000)
            for _ in range(2):  # the first may only tell the sender that smaller ones are needed
                with contextlib.suppress(TimeoutError, OSError):
                    sock.settimeout(1 if not number else 10)
                    sock.send(datagram)
                    back = sock.recv(65535)
                    break
            assert back == datagram


def test_datagrams_come_back(tunnels: Lab, family: int) -> None:
    """Datagrams of all three servers come back as they were sent."""
    tunnels.warm_up(family)
    for number in range(12):
        with tunnels.datagram_socket(family, PEER) as sock:
            sock.send(seal(number, b"tunnelled"))
            assert sock.recv(100) == seal(number, b"tunnelled")
