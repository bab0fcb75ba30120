"""Firewall marks, set by real rules of nft and iptables, bring packets of several ports to one service."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import HTTP, PEER, Lab
from xlvs.cli.client import Client, socket_path
from xlvs.demo import netns, topology
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until

OTHER = {4: "10.0.0.200", 6: "fd00:a::200"}
"""An address of the director that is no service's."""

NFT = """table inet user {
  chain mangle { type filter hook prerouting priority mangle;
    ip daddr VIP4 tcp dport { PORTS } meta mark set 7
    ip daddr OTHER4 tcp dport { PORTS } meta mark set 7
    ip6 daddr { VIP6, OTHER6 } tcp dport { PORTS } meta mark set 7
    ip daddr VIP4 udp dport { PORTS } meta mark set 7
    ip6 daddr VIP6 udp dport { PORTS } meta mark set 7
  }
}
"""


@pytest.fixture(params=["nat-xdp", "route-tc", "ipip-tc"])
def method(request: pytest.FixtureRequest) -> list[str]:
    """Forwarding method and hook."""
    return str(request.param).split("-")


@pytest.fixture
def marked(method: list[str], tmp_path: Path) -> Iterator[Lab]:
    """A director whose only services are by mark 7, of both families: persistent, round robin."""
    with Lab(*method, tmp_path, started=False) as lab:
        lab.director.start()
        add_services(lab)
        yield lab


def add_services(lab: Lab, **more: object) -> None:
    """Put services by mark 7 in force; nat leaves the ports, so they are those at which the servers listen."""
    with Client(socket_path(lab.director.instance)) as client:
        for family in (4, 6):
            servers = [{"address": a, "port": 0, "forward": lab.forward} for a in topology.server_addresses(family)]
            listen = {"protocol": "fwm", "mark": 7, "family": family}
            body = {"listen": listen, "scheduler": "rr", "servers": servers, "persistent": 300, **more}
            client.post("/v1/services", body)


def mark_by_nft(lab: Lab) -> None:
    """Mark what goes to the virtual addresses at the ports of the servers."""
    rules = NFT.replace("PORTS", f"{lab.real_port(HTTP)}, {lab.real_port(PEER)}")
    for family in (4, 6):
        rules = rules.replace(f"VIP{family}", VIP[family]).replace(f"OTHER{family}", OTHER[family])
    run(lab, "nft", rules)


def mark_by_iptables(lab: Lab) -> None:
    """Do the same with iptables and ip6tables."""
    for program, family in (("iptables", 4), ("ip6tables", 6)):
        for port in (HTTP, PEER):
            words = (
                f"-t mangle -A PREROUTING -d {VIP[family]} -p tcp --dport {lab.real_port(port)} -j MARK --set-mark 7"
            )
            netns.inside(lab.topology.director, lambda p=program, w=words: subprocess.run([p, *w.split()], check=True))  # type: ignore[misc]


def run(lab: Lab, program: str, rules: str) -> None:
    """Give *rules* to nft on the director."""
    netns.inside(
        lab.topology.director, lambda: subprocess.run([program, "-f", "-"], input=rules, text=True, check=True)
    )


def asked(lab: Lab, family: int, port: int, source: int, address: str = "") -> str:
    """Return which server answers the client's address number *source* at this port of the servers."""
    own = topology.client_addresses(family)[source]

    def ask() -> str:
        target = (address or VIP[family], lab.real_port(port))
        with socket.create_connection(target, 10, (own, 0)) as sock:
            if port == HTTP:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                said = b""
                while more := sock.recv(4096):
                    said += more
                return said.decode().rpartition("\r\n\r\n")[2].split()[0]
            sock.sendall(b"ECHO\nwho\n")
            return sock.recv(100).decode().split()[0]

    return lab.in_client(ask)


def test_one_server_for_both_ports(marked: Lab) -> None:
    """A client's connections to two ports go to one server, another client's to the next one."""
    mark_by_nft(marked)
    for family in (4, 6):
        found = []
        for source in range(3):
            names = {asked(marked, family, port, source) for port in (HTTP, PEER, HTTP, PEER)}
            assert len(names) == 1, f"client {source} got {names}"
            found += names
        assert sorted(found) == ["real1", "real2", "real3"]


def test_marks_of_iptables_are_as_good(tmp_path: Path) -> None:
    """And what has no mark is the host's: it refuses connections to other ports by itself."""
    with Lab("nat", "tc", tmp_path, started=False) as lab:
        lab.director.start()
        add_services(lab)
        mark_by_iptables(lab)
        for family in (4, 6):
            assert len({asked(lab, family, port, source) for source in range(3) for port in (HTTP, PEER)}) == 3
            with pytest.raises(ConnectionRefusedError):
                lab.connect(family, 9)


def test_an_address_that_is_no_service_of_its_own(marked: Lab) -> None:
    """A mark says what to balance, whatever the address."""
    mark_by_nft(marked)
    with_address = ["address", "add", f"{OTHER[4]}/32", "dev", "eth0"]
    netns.inside(marked.topology.director, lambda: subprocess.run(["ip", *with_address], check=True))
    if marked.forward == "nat":
        assert asked(marked, 4, HTTP, 0, OTHER[4]).startswith("real")


def test_the_mark_wins_over_the_address(method: list[str], tmp_path: Path) -> None:
    """A packet that is of both has the service by mark (ip_vs_service_find); unmarked ones keep the other."""
    forward = method[0]
    with Lab(*method, tmp_path) as lab:
        addresses = {family: topology.server_addresses(family) for family in (4, 6)}
        for family in (4, 6):  # the service by address has but one server
            with Client(socket_path(lab.director.instance), owner="cli") as client:
                for port in (HTTP, PEER):
                    vip = f"[{VIP[6]}]" if family == 6 else VIP[4]
                    listen = {"protocol": "tcp", "address": VIP[family], "port": lab.real_port(port)}
                    server = {"address": addresses[family][0], "port": lab.real_port(port), "forward": forward}
                    client.put(f"/v1/services/tcp:{vip}:{lab.real_port(port)}", {"listen": listen, "servers": [server]})
        add_services(lab, persistent=0)
        for family in (4, 6):
            assert {asked(lab, family, HTTP, source) for source in range(4)} == {"real1"}
        mark_by_nft(lab)
        for family in (4, 6):
            assert {asked(lab, family, HTTP, source) for source in range(4)} == {"real1", "real2", "real3"}


def test_nothing_is_left_when_the_services_are_gone(marked: Lab) -> None:
    """Devices and chain go with the last service by mark, once its connections are gone."""
    names = ["ip", "-br", "link"]

    def there() -> bool:
        said = netns.inside(
            marked.topology.director, lambda: subprocess.run(names, check=True, capture_output=True, text=True)
        ).stdout
        tables = netns.inside(
            marked.topology.director,
            lambda: subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True),
        ).stdout
        return "xlvs" in said or "xlvs" in tables

    assert there()
    with Client(socket_path(marked.director.instance)) as client:
        for name in ("fwm:7", "fwm6:7"):
            client.delete(f"/v1/services/{name}")
    until(lambda: not there(), "devices or chain stayed")
