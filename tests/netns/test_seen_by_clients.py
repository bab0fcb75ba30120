"""What clients meet when something is missing, as they did before a real IPVS (Linux 6.1).

client ──┐           ┌── real1
         ├─ switch ──┼── real2
director ┘           └── real3

A service without servers or without weight, a port nobody listens at, a server that does not exist, one that is deleted
under an open connection, a connection that was forgotten, and the director as its own server.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import FLAGS, PEER, TRANSLATED, Lab, endpoint
from tests.netns.peer import seal
from xlvs.cli.client import Client, socket_path
from xlvs.demo import netns, servers, topology
from xlvs.demo.topology import BACK, VIP
from xlvs.demo.wait import until

CLOSED, UNUSED = 9, 12
"""The port at which nobody listens, and one that no other test asks for."""

PATIENCE_S = 1.5
"""How long a client waits that is to see nothing; the kernel gives a neighbour up after three seconds."""

OPTIONS = {"tcp": "-t", "udp": "-u"}


@pytest.fixture(scope="module", params=FLAGS)
def empty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory whose services are the test's own; in XDP mode both hooks are there."""
    with Lab(request.param, "xdp", tmp_path_factory.mktemp("seen")) as made:
        yield made


@pytest.fixture(autouse=True)
def without_services(empty: Lab) -> Iterator[None]:
    """Begin without services, and let no switch stay as a test left it."""
    empty.director.admin("-C")
    yield
    switch(empty, expire_nodest_conn=0, expire_quiescent_template=0)
    empty.director.admin("--set", "900", "120", "300")


def switch(lab: Lab, **values: int) -> None:
    """Write sysctls."""
    with Client(socket_path(lab.director.instance)) as client:
        client.patch("/v1/sysctls", {name: str(value) for name, value in values.items()})


def real(lab: Lab, family: int, host: int | str, port: int = PEER) -> str:
    """Return the server's address (real1 is 11) and the port at which it is reached for this virtual port."""
    address = host if isinstance(host, str) else f"{BACK[family]}{'.' if family == 4 else ':'}{host}"
    behind = TRANSLATED.get(port, port) if lab.forward == "nat" else port
    return f"[{address}]:{behind}" if family == 6 else f"{address}:{behind}"


def serve(lab: Lab, family: int, *hosts: int | str, port: int = PEER, weight: int = 1, persistent: int = 0) -> None:
    """Put services of both protocols in force, with these servers."""
    for option in OPTIONS.values():
        more = ("-p", str(persistent)) if persistent else ()
        lab.director.admin("-A", option, endpoint(family, port), "-s", "rr", *more)
        for host in hosts:
            add(lab, family, host, option, port=port, weight=weight)


def add(lab: Lab, family: int, host: int | str, option: str = "-t", *, port: int = PEER, weight: int = 1) -> None:
    """Add a server."""
    words = (option, endpoint(family, port), "-r", real(lab, family, host, port), FLAGS[lab.forward])
    lab.director.admin("-a", *words, "-w", str(weight))


def delete(lab: Lab, family: int, host: int) -> None:
    """Delete a server of the TCP service."""
    lab.director.admin("-d", "-t", endpoint(family, PEER), "-r", real(lab, family, host))


def talk(lab: Lab, family: int, protocol: str, port: int = PEER, *, wait_s: float = 20, source: str = "") -> bytes:
    """Ask the virtual address something and return the answer; raises what the client's socket says."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM

    def ask() -> bytes:
        with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind) as sock:
            sock.settimeout(wait_s)
            if source:
                sock.bind((source, 0))
            sock.connect((VIP[family], port))
            sock.sendall(b"ECHO\nhello\n" if protocol == "tcp" else seal(1, b"hello"))
            return sock.recv(2000)

    return lab.in_client(ask)


def states(lab: Lab, server: str, port: int = PEER) -> list[str]:
    """Return the states of the TCP connections through this virtual port to this server."""
    rows = [line.split() for line in lab.director.admin("-L", "-n", "-c").splitlines()[2:]]
    return [row[2] for row in rows if row[0] == "TCP" and row[4].endswith(f":{port}") and row[5] == server]


@pytest.mark.parametrize("protocol", OPTIONS)
@pytest.mark.parametrize("weight", [None, 0], ids=["no server", "weight 0"])
def test_no_server_is_a_refusal(empty: Lab, family: int, protocol: str, weight: int | None) -> None:
    """Connection refused, for datagrams too, and no connection is counted."""
    serve(empty, family, *(() if weight is None else (11,)), port=UNUSED, weight=0)
    with pytest.raises(ConnectionRefusedError):
        talk(empty, family, protocol, UNUSED)
    for service in empty.director.ask("services")["services"]:
        assert set(service["stats"].values()) == {0}


@pytest.mark.parametrize("protocol", OPTIONS)
def test_a_closed_port_is_a_refusal(empty: Lab, family: int, protocol: str) -> None:
    """The server's reset or ICMP error comes through nat, or by itself; only nat can know that it is over."""
    serve(empty, family, 11, port=CLOSED)
    with pytest.raises(ConnectionRefusedError):
        talk(empty, family, protocol, CLOSED)
    if protocol == "tcp":
        state = "CLOSE" if empty.forward == "nat" else "SYN_RECV"
        assert state in states(empty, real(empty, family, 11, CLOSED), CLOSED)


@pytest.mark.parametrize("protocol", OPTIONS)
def test_a_server_that_does_not_exist_is_silent(empty: Lab, family: int, protocol: str) -> None:
    """The client waits, and the connection is half open."""
    serve(empty, family, 99)
    with pytest.raises(TimeoutError):
        talk(empty, family, protocol, wait_s=PATIENCE_S)
    if protocol == "tcp":
        assert states(empty, real(empty, family, 99)) == ["SYN_RECV"]


def test_a_server_deleted_under_a_connection(empty: Lab, family: int) -> None:
    """Its packets vanish and its entry stays until it is back; then the connection goes on."""
    serve(empty, family, 11)
    with empty.connect(family, PEER) as sock:
        sock.sendall(b"ECHO\nbefore\n")
        assert sock.recv(100) == b"real1 before\n"
        delete(empty, family, 11)
        sock.settimeout(PATIENCE_S)
        sock.sendall(b"after\n")
        with pytest.raises(TimeoutError):
            sock.recv(100)
        assert "ESTABLISHED" in states(empty, real(empty, family, 11))
        with pytest.raises(ConnectionRefusedError):
            talk(empty, family, "tcp")
        add(empty, family, 11)
        sock.settimeout(20)
        assert sock.recv(100) == b"real1 after\n"


@pytest.mark.parametrize("other", [(), (12,)], ids=["alone", "another is there"])
def test_expire_nodest_conn_resets_it(empty: Lab, family: int, other: tuple[int, ...]) -> None:
    """With the switch on the connection of a deleted server is reset by its next packet, also when there is another."""
    switch(empty, expire_nodest_conn=1)
    serve(empty, family, 11)
    with empty.connect(family, PEER) as sock:
        sock.sendall(b"ECHO\nbefore\n")
        assert sock.recv(100) == b"real1 before\n"
        delete(empty, family, 11)
        for host in other:
            add(empty, family, host)
        sock.sendall(b"after\n")
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
    assert "ESTABLISHED" not in states(empty, real(empty, family, 11))


def test_a_forgotten_connection_is_reset(empty: Lab, family: int) -> None:
    """A packet amid a connection whose entry has expired goes to the director's own stack."""
    server = real(empty, family, 11)
    serve(empty, family, 11)
    with empty.connect(family, PEER) as sock:
        sock.sendall(b"ECHO\nbefore\n")
        assert sock.recv(100) == b"real1 before\n"
        empty.director.admin("--set", "1", "1", "1")
        until(lambda: "ESTABLISHED" not in states(empty, server), "the connection did not expire")
        sock.sendall(b"after\n")
        with pytest.raises(ConnectionResetError):
            sock.recv(100)
    assert "ESTABLISHED" not in states(empty, server)


def test_persistence_and_servers_that_go(empty: Lab, family: int) -> None:
    """The client keeps its server, gets another when that is deleted, and is refused when none is left."""
    client = topology.client_addresses(family)[3]
    serve(empty, family, 11, 12, persistent=60)
    said = [talk(empty, family, "tcp", source=client) for _ in range(2)]
    delete(empty, family, 12)
    said += [talk(empty, family, "tcp", source=client) for _ in range(2)]
    assert said == [b"real2 hello\n"] * 2 + [b"real1 hello\n"] * 2
    delete(empty, family, 11)
    with pytest.raises(ConnectionRefusedError):
        talk(empty, family, "tcp", source=client)


def test_persistence_and_weight_0(empty: Lab, family: int) -> None:
    """The client keeps a server without weight, until expire_quiescent_template says otherwise."""
    client = topology.client_addresses(family)[4]
    serve(empty, family, 11, persistent=60)
    said = [talk(empty, family, "tcp", source=client) for _ in range(2)]
    words = ("-t", endpoint(family, PEER), "-r", real(empty, family, 11), FLAGS[empty.forward])
    empty.director.admin("-e", *words, "-w", "0")
    add(empty, family, 12)
    said += [talk(empty, family, "tcp", source=client) for _ in range(3)]
    switch(empty, expire_quiescent_template=1)
    said += [talk(empty, family, "tcp", source=client) for _ in range(3)]
    assert said == [b"real1 hello\n"] * 5 + [b"real2 hello\n"] * 3


@pytest.fixture(scope="module")
def peer_on_director(empty: Lab) -> Iterator[None]:
    """Let the director be a real server, too."""
    ready = empty.directory / "director.ready"
    script, port = Path(__file__).with_name("peer.py"), empty.real_port(PEER)
    peer = netns.popen(
        empty.topology.director,
        [sys.executable, str(script), "director", str(port), str(ready)],
        stdout=subprocess.DEVNULL,
    )
    with contextlib.ExitStack() as made:
        made.callback(servers.stop, peer)
        until(ready.exists, "the peer on the director did not start")
        yield


@pytest.mark.usefixtures("peer_on_director")
@pytest.mark.parametrize("protocol", OPTIONS)
def test_the_director_is_a_server(empty: Lab, family: int, protocol: str) -> None:
    """It answers as any other; behind nat at another port than the one that was asked for."""
    serve(empty, family, topology.director_address(family))
    wanted = b"director hello\n" if protocol == "tcp" else seal(1, b"hello")
    for _ in range(3):
        assert talk(empty, family, protocol) == wanted
    if empty.forward == "nat" and protocol == "tcp":
        assert "ESTABLISHED" not in states(empty, real(empty, family, topology.director_address(family)))


@pytest.mark.usefixtures("peer_on_director")
@pytest.mark.parametrize("empty", ["nat"], indirect=True)
@pytest.mark.parametrize("protocol", OPTIONS)
def test_the_loopback_is_no_server_for_others(empty: Lab, family: int, protocol: str) -> None:
    """Packets of a remote client to 127.0.0.1 or ::1 behind nat vanish."""
    loopback = "127.0.0.1" if family == 4 else "::1"
    serve(empty, family, loopback)
    with pytest.raises(TimeoutError):
        talk(empty, family, protocol, wait_s=PATIENCE_S)
    if protocol == "tcp":
        assert states(empty, real(empty, family, loopback)) == ["SYN_RECV"]
