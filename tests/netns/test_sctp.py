"""SCTP between real stacks.  Few kernels have one built in; where there is none, this is skipped, and says so."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import FLAGS, Lab
from tests.netns.test_crash import kill
from xlvs.demo import netns, servers, topology
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until

PORT, BEHIND_NAT = 7100, 7101
SIZES = (1, 1000, 1300, 9000, 60000)
"""Of messages: SCTP itself cuts them to the path's MTU."""


def has_sctp() -> bool:
    """Return whether this kernel speaks SCTP."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP).close()
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not has_sctp(), reason="this kernel does not speak SCTP")


@pytest.fixture(scope="module", params=[(f, h) for f in FLAGS for h in ("xdp", "tc")], ids=lambda p: "-".join(p))
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A director with an SCTP service of three servers, by each method."""
    forward, hook = request.param
    directory = tmp_path_factory.mktemp("sctp")
    with Lab(forward, hook, directory) as lab, contextlib.ExitStack() as stack:
        port = BEHIND_NAT if forward == "nat" else PORT
        for family in (4, 6):
            virtual = endpoint(VIP[family], PORT)
            lab.director.admin("-A", "--sctp-service", virtual, "-s", "rr")
            for number, real in enumerate(topology.server_addresses(family), 1):
                lab.director.admin("-a", "--sctp-service", virtual, "-r", endpoint(real, port), FLAGS[forward])
                address = real if forward == "nat" else VIP[family]
                ready = directory / f"{number}.{family}.ready"
                script = str(Path(__file__).with_name("sctp_echo.py"))
                argv = [sys.executable, script, f"s{number}", address, str(port), str(ready)]
                process: subprocess.Popen[str] = netns.popen(lab.topology.servers[number - 1], argv)
                stack.callback(servers.stop, process)
                until(ready.exists, f"the SCTP server {number} does not listen")
        yield lab


def endpoint(address: str, port: int) -> str:
    """Write address and port as ipvsadm does."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def associate(lab: Lab, family: int) -> socket.socket:
    """Return an association of the client, by one address, to the virtual one."""

    def make() -> socket.socket:
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        sock = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
        sock.settimeout(30)
        sock.bind((topology.client_addresses(family)[0], 0))
        sock.connect((VIP[family], PORT))
        return sock

    return lab.in_client(make)


def exchange(sock: socket.socket, size: int) -> str:
    """Send a message, get it back whole, and return who answered."""
    message = hashlib.shake_128(str(size).encode()).digest(size)
    sock.sendall(message)
    answer = b""
    while len(answer) < len(message) + 2:
        part = sock.recv(65536)
        assert part
        answer += part
    assert answer[2:] == message
    return answer[:2].decode()


def states(lab: Lab) -> list[str]:
    """Return the states of the associations that the director knows."""
    return [line.split()[2] for line in lab.director.admin("-L", "-n", "-c").splitlines() if line.startswith("SCTP")]


@pytest.mark.parametrize("family", [4, 6], ids=["v4", "v6"])
def test_messages_come_back_whole(lab: Lab, family: int) -> None:
    """Each association has one server, three in a row have three; they are established until they end."""
    before = states(lab).count("ESTABLISHED")
    with contextlib.ExitStack() as stack:
        associations = [stack.enter_context(associate(lab, family)) for _ in range(3)]
        names = {exchange(sock, 10) for sock in associations}
        assert names == {"s1", "s2", "s3"}
        for sock in associations:
            assert len({exchange(sock, size) for size in SIZES}) == 1
        assert states(lab).count("ESTABLISHED") - before == 3
    until(lambda: states(lab).count("ESTABLISHED") == before, "associations that ended are established")


def test_a_daemon_that_dies_is_not_missed(lab: Lab) -> None:
    """By associations that are there, and by new ones."""
    with associate(lab, 4) as old:
        name = exchange(old, 10)
        kill(lab.director)
        assert exchange(old, 9000) == name
        with associate(lab, 4) as new:
            exchange(new, 9000)
        lab.director.start()
        assert exchange(old, 10) == name
