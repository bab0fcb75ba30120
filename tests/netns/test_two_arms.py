"""A director between two networks: clients on one side, real servers on the other, nothing in common but the director.

    client ── switch front ── director ── switch back ── real1, real2, real3

For route and ipip there is a router beside the director, from `back` to
`front`: by it the answers go home, past the director.  Two bridges that do not
know each other make the two networks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import NetNS
from pyroute2 import netns as namespaces

from tests.netns.conftest import WAYS
from tests.netns.lab import HTTP, PEER, Lab
from tests.netns.peer import seal
from xlvs.demo import ethtool, netns, topology
from xlvs.demo.director import Director
from xlvs.demo.topology import BACK, FRONT, GATEWAY, PREFIX_LENGTH, VIP, Topology
from xlvs.model import Address, endpoint

REQUESTS = 300
DATAGRAMS = 60
FILE_SIZE = 16 << 20
ROUTER = 253


@dataclass(frozen=True, slots=True)
class TwoArms(Topology):
    """The demonstration's network cut in two."""

    @property
    def router(self) -> str:
        """The namespace of the way home for route and ipip."""
        return f"{self.prefix}-router"

    @property
    def all(self) -> list[str]:
        """Every namespace."""
        return [self.switch, self.client, *self.forwarders, *self.servers]

    @property
    def forwarders(self) -> dict[str, int]:
        """The namespaces on both networks, with the last part of their addresses."""
        return {self.director: GATEWAY} | ({} if self.forward == "nat" else {self.router: ROUTER})

    def build(self) -> None:
        """Make namespaces, links, addresses and routes."""
        for name in self.all:
            namespaces.create(name)
            netns.inside(name, topology._set_sysctls)
        with NetNS(self.switch) as switch:
            for side in ("front", "back"):
                switch.link("add", ifname=side, kind="bridge", br_stp_state=0, br_mcast_snooping=0)
                switch.link("set", index=switch.link_lookup(ifname=side)[0], state="up")
            self._join(switch, "front", self.client, "eth0", {f: topology.client_addresses(f) for f in (4, 6)})
            for number, name in enumerate(self.servers):
                mine = {f: [topology.server_addresses(f)[number]] for f in (4, 6)}
                self._join(switch, "back", name, "eth0", mine)
            for name, host in self.forwarders.items():
                self._join(switch, "front", name, "front", {f: [self._address_of(FRONT, f, host)] for f in (4, 6)})
                self._join(switch, "back", name, "back", {f: [self._address_of(BACK, f, host)] for f in (4, 6)})
                netns.inside(name, topology._turn_forwarding_on)
        with NetNS(self.director) as director:
            front = director.link_lookup(ifname="front")[0]
            for family in (4, 6):
                topology._add_address(director, front, family, VIP[family], 32 if family == 4 else 128)
        home = GATEWAY if self.forward == "nat" else ROUTER
        for name, net, host in ((self.client, FRONT, GATEWAY), *((name, BACK, home) for name in self.servers)):
            with NetNS(name) as machine:
                for family in (4, 6):
                    gateway = self._address_of(net, family, host)
                    machine.route("add", family=topology._af(family), dst="default", gateway=gateway)

    def turn_gro_on(self) -> str:
        """Prepare both ports of the director for frames that it redirects by XDP."""
        for side in ("front", "back"):
            netns.inside(self.switch, partial(ethtool.turn_gro_on, f"director-{side}"))
        return "director-front"

    @staticmethod
    def _address_of(net: dict[int, str], family: int, host: int) -> str:
        return f"{net[family]}{topology._dot(family)}{host}"

    def _join(self, switch: Any, side: str, name: str, interface: str, addresses: dict[int, list[str]]) -> None:
        """Plug an interface of *name* into the bridge *side*."""
        host = name.removeprefix(f"{self.prefix}-")
        port = host if interface == "eth0" else f"{host}-{side}"
        switch.link("add", ifname=port, kind="veth", peer={"ifname": interface, "net_ns_fd": name})
        bridge = switch.link_lookup(ifname=side)[0]
        switch.link("set", index=switch.link_lookup(ifname=port)[0], master=bridge, state="up")
        with NetNS(name) as machine:
            machine.link("set", index=machine.link_lookup(ifname="lo")[0], state="up")
            index = machine.link_lookup(ifname=interface)[0]
            machine.link("set", index=index, state="up")
            for family, chosen in addresses.items():
                for address in chosen:
                    topology._add_address(machine, index, family, address, PREFIX_LENGTH[family])


@dataclass(slots=True)
class TwoArmsLab(Lab):
    """A laboratory whose director has an interface to either side."""

    def __post_init__(self) -> None:
        Lab.__post_init__(self)
        made = self.director
        self.topology = TwoArms(self.topology.prefix, self.forward)
        hooks = f"front={self.hook},back={self.hook}"
        self.director = Director(made.namespace, made.instance, made.log, hooks)


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory with two arms per forwarding method and hook."""
    forward, hook = request.param
    with TwoArmsLab(forward, hook, tmp_path_factory.mktemp("arms")) as made:
        yield made


@pytest.fixture(scope="module")
def file(big_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give out the beginning of the big file."""
    made = tmp_path_factory.mktemp("data") / "file"
    with big_file.open("rb") as source:
        made.write_bytes(source.read(FILE_SIZE))
    return made


def page(lab: Lab, family: int) -> str:
    """Return what the virtual service answers to one request over a connection of its own."""
    with lab.connect(family, HTTP) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = stream.read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    return body.decode().split()[0]


def stats(lab: Lab, family: int, protocol: str, port: int) -> dict[str, int]:
    """Return the counters of one service."""
    service = lab.director.ask(f"services/{protocol}:{endpoint(Address.parse(VIP[family]), port)}")
    return dict(service["stats"])


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Return by how much each counter grew."""
    return {name: after[name] - before[name] for name in after}


def test_both_arms_have_the_hook(lab: Lab) -> None:
    """Both interfaces carry the hook that was asked for."""
    rows = {row["name"]: row["hook"] for row in lab.director.ask("interfaces")}
    assert rows == dict.fromkeys(("front", "back"), {"xdp": "xdp+tc", "tc": "tc"}[lab.hook])


def test_requests_are_shared_out_and_each_is_one_connection(lab: Lab, family: int) -> None:
    """Every request is answered, every server gets its third, and the service counts each connection once."""
    lab.warm_up(family)
    counted, forwarded = stats(lab, family, "tcp", HTTP), lab.director.ask("counters")
    assert Counter(page(lab, family) for _ in range(REQUESTS)) == dict.fromkeys(
        ("real1", "real2", "real3"), REQUESTS // 3
    )
    assert grown(counted, stats(lab, family, "tcp", HTTP))["conns"] == REQUESTS
    moved = grown(forwarded, lab.director.ask("counters"))
    assert moved[f"{lab.hook}_forwarded"] >= 4 * REQUESTS
    assert moved[{"xdp": "tc", "tc": "xdp"}[lab.hook] + "_forwarded"] == 0


def test_no_packet_is_counted_by_both_hooks(lab: Lab, family: int) -> None:
    """Datagrams there and back are counted once each, by the service and by the hook."""
    lab.warm_up(family)
    with lab.datagram_socket(family, PEER) as sock:
        sock.send(seal(0, b"first"))
        sock.recv(100)
        counted, forwarded = stats(lab, family, "udp", PEER), lab.director.ask("counters")
        for number in range(DATAGRAMS):
            sock.send(seal(number, b"counted"))
            assert sock.recv(100) == seal(number, b"counted")
    back = DATAGRAMS if lab.forward == "nat" else 0
    size = len(seal(0, b"counted")) + 8 + (20 if family == 4 else 40)
    expected = {
        "conns": 0,
        "in_pkts": DATAGRAMS,
        "out_pkts": back,
        "in_bytes": DATAGRAMS * size,
        "out_bytes": back * size,
    }
    assert grown(counted, stats(lab, family, "udp", PEER)) == expected
    moved = grown(forwarded, lab.director.ask("counters"))
    assert (moved["xdp_forwarded"], moved["tc_forwarded"]) == (
        (DATAGRAMS + back, 0) if lab.hook == "xdp" else (0, DATAGRAMS + back)
    )


def test_file_is_the_same_in_both_directions(lab: Lab, family: int, file: Path) -> None:
    """16 MiB down and up, byte for byte."""
    data = file.read_bytes()
    with lab.connect(family, PEER) as sock, sock.makefile("rb") as stream:
        sock.sendall(f"GET {file}\n".encode())
        assert stream.read() == data
    with lab.connect(family, PEER) as sock:
        sock.sendall(f"PUT {file} {len(data)}\n".encode() + data)
        assert sock.recv(100) == b"same\n"
