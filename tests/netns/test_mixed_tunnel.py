"""Clients of one family, real servers reached by the other: IPv4 in IPv6, and IPv6 in IPv4.

client ──┐           ┌── real1 (peer)
         ├─ switch ──┼── real2 (peer)
director ┘           └── real3 (peer)
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import PEER, Lab, endpoint
from tests.netns.peer import seal
from xlvs.demo import topology

OTHER = {4: 6, 6: 4}


@pytest.fixture(scope="module", params=["tc", "xdp"])
def mixed_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory whose services have real servers of the other family only."""
    with Lab("ipip", request.param, tmp_path_factory.mktemp("mixed")) as lab:
        lab.director.admin("-C")
        for family in (4, 6):
            for option in ("-t", "-u"):
                service = (option, endpoint(family, PEER))
                lab.director.admin("-A", *service, "-s", "rr")
                for address in topology.server_addresses(OTHER[family]):
                    real = f"{address}:{PEER}" if family == 6 else f"[{address}]:{PEER}"
                    lab.director.admin("-a", *service, "-r", real, "-i")
        yield lab


def test_file_is_the_same_in_both_directions(mixed_lab: Lab, family: int, big_file: Path) -> None:
    """64 MiB down and up, byte for byte; the upload needs the director's ICMP answer."""
    size = big_file.stat().st_size
    with mixed_lab.connect(family, PEER) as sock, sock.makefile("rb") as stream, big_file.open("rb") as file:
        sock.sendall(f"GET {big_file}\n".encode())
        assert all(stream.read(1 << 20) == file.read(1 << 20) for _ in range(size >> 20))
        assert stream.read() == b""
    with mixed_lab.connect(family, PEER) as sock, big_file.open("rb") as file:
        sock.sendall(f"PUT {big_file} {size}\n".encode())
        sock.sendfile(file)
        assert sock.recv(100) == b"same\n"


def test_datagrams_come_back(mixed_lab: Lab, family: int) -> None:
    """Datagrams of all three servers come back as they were sent."""
    with mixed_lab.connect(family, PEER):  # so that the neighbours are known
        pass
    for number in range(30):
        with mixed_lab.datagram_socket(family, PEER) as sock:
            sock.send(seal(number, b"mixed"))
            assert sock.recv(100) == seal(number, b"mixed")
