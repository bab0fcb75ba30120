"""Changes while connections are open: they stay where they are.

client ──┐           ┌── real1
         ├─ switch ──┼── real2
director ┘           └── real3
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.netns.conftest import WAYS
from tests.netns.lab import PEER, Lab, endpoint
from xlvs.demo import topology


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def own_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory whose services may be changed; each test puts them back."""
    forward, hook = request.param
    with Lab(forward, hook, tmp_path_factory.mktemp("changes")) as made:
        yield made


def test_deleted_service_keeps_its_flows(own_lab: Lab, family: int) -> None:
    """An open connection goes on after its service is gone; a new one is refused."""
    with own_lab.connect(family, PEER) as sock:
        sock.sendall(b"ECHO\nbefore\n")
        name, _ = sock.recv(100).split()
        own_lab.director.admin("-D", "-t", endpoint(family, PEER))
        try:
            sock.sendall(b"after\n")
            assert sock.recv(100) == name + b" after\n"
            with pytest.raises(ConnectionRefusedError):
                own_lab.connect(family, PEER)
        finally:
            own_lab.director.admin("-C")
            own_lab.director.admin("-R", stdin=own_lab.rules())


def test_weight_zero_keeps_old_connections_and_takes_no_new_one(own_lab: Lab, family: int) -> None:
    """A drained server goes on with what it has."""
    service = endpoint(family, PEER)
    held = [own_lab.connect(family, PEER) for _ in range(3)]
    try:
        names = []
        for sock in held:
            sock.sendall(b"ECHO\nx\n")
            names.append(sock.recv(100).split()[0])
        assert sorted(names) == [b"real1", b"real2", b"real3"]
        address = topology.server_addresses(family)[0]
        real = f"[{address}]" if family == 6 else address
        flag = {"nat": "-m", "route": "-g", "ipip": "-i"}[own_lab.forward]
        drained = ("-t", service, "-r", f"{real}:{own_lab.real_port(PEER)}", flag, "-w")
        own_lab.director.admin("-e", *drained, "0")
        for sock, name in zip(held, names, strict=True):
            sock.sendall(b"y\n")
            assert sock.recv(100) == name + b" y\n"
        for _ in range(6):
            with own_lab.connect(family, PEER) as sock:
                sock.sendall(b"ECHO\nz\n")
                assert sock.recv(100).split()[0] in (b"real2", b"real3")
        own_lab.director.admin("-e", *drained, "1")
    finally:
        for sock in held:
            sock.close()
