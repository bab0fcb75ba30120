"""Virtual addresses on an interface, and the neighbour who hears of them.

director (eth0) ─ neighbour (eth0)
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from pyroute2 import netns as namespaces

from xlvs.daemon.host import vips
from xlvs.daemon.host.netlink import ROUTE_LOCAL, Netlink
from xlvs.daemon.host.vips import Vips
from xlvs.demo import netns
from xlvs.demo.wait import until
from xlvs.model import Address

T = TypeVar("T")

OWN = {4: "192.0.2.251", 6: "2001:db8::251"}
NEIGHBOUR = {4: "192.0.2.250", 6: "2001:db8::250"}
LENGTH = {4: 24, 6: 64}
VIP = {4: Address.parse("192.0.2.1"), 6: Address.parse("2001:db8::1")}
OTHER_MAC = "02:00:00:00:00:99"


def ip(command: str) -> str:
    """Return what ip(8) prints in the caller's namespace."""
    return subprocess.run(["ip", *command.split()], text=True, capture_output=True, check=True).stdout


@pytest.fixture
def pair() -> Iterator[tuple[str, str]]:
    """Give out the director's and the neighbour's namespace, on one wire."""
    director, neighbour = (f"xlvs-t{os.getpid()}-vips-{name}" for name in ("director", "neighbour"))
    namespaces.create(director)
    namespaces.create(neighbour)
    try:
        netns.inside(director, lambda: ip(f"link add eth0 type veth peer name eth0 netns {neighbour}"))
        for name, addresses in ((director, OWN), (neighbour, NEIGHBOUR)):
            netns.inside(name, lambda: ip("link set lo up"))
            netns.inside(name, lambda: ip("link set eth0 up"))
            for family, address in addresses.items():
                command = f"address add {address}/{LENGTH[family]} dev eth0 {'nodad' if family == 6 else ''}"
                netns.inside(name, lambda command=command: ip(command))  # type: ignore[misc]
        yield director, neighbour
    finally:
        namespaces.remove(director)
        namespaces.remove(neighbour)


class Machine:
    """The director's `Vips`, used inside its namespace."""

    def __init__(self, namespace: str, file: Path) -> None:
        self.namespace = namespace
        self.netlink = netns.inside(namespace, Netlink)
        self.vips = netns.inside(namespace, lambda: Vips(self.netlink, file))

    def do(self, call: Callable[[], T]) -> T:
        """Return what *call* returns in the director's namespace."""
        return netns.inside(self.namespace, call)

    def has(self, family: int) -> bool:
        """Return whether the virtual address is in use."""
        route = self.do(lambda: self.netlink.route(VIP[family]))
        return route is not None and route.type == ROUTE_LOCAL


@pytest.fixture
def machine(pair: tuple[str, str], tmp_path: Path) -> Iterator[Machine]:
    """Give out the director."""
    made = Machine(pair[0], tmp_path / "vips.json")
    yield made
    made.netlink.close()


def test_an_address_is_added_and_the_neighbour_unlearns_the_old_director(
    machine: Machine, pair: tuple[str, str], family: int
) -> None:
    """Who sent to another machine sends here at once, and without being asked."""
    _, neighbour = pair
    for vip in VIP.values():
        command = f"neighbour add {vip} lladdr {OTHER_MAC} dev eth0 nud stale"
        netns.inside(neighbour, lambda command=command: ip(command))  # type: ignore[misc]
    mac = next(link.mac for link in machine.do(machine.netlink.links).values() if link.name == "eth0").hex(":")

    def told() -> bool:
        machine.do(machine.vips.sync)
        return mac in netns.inside(neighbour, lambda: ip(f"neighbour show {VIP[family]}"))

    machine.do(lambda: machine.vips.want({("eth0", VIP[family])}))
    until(lambda: machine.has(family), "the address is not in use")
    until(told, "the neighbour was not told")


def test_the_address_answers_and_is_nobodys_source(machine: Machine, pair: tuple[str, str], family: int) -> None:
    """A client reaches it; the director itself goes on speaking from its own address; nothing else is routed."""
    before = machine.do(lambda: ip("-6 route") + ip("route"))
    machine.do(lambda: machine.vips.want({("eth0", VIP[family])}))
    until(lambda: machine.has(family), "the address is not in use")
    assert machine.do(lambda: ip("-6 route") + ip("route")) == before
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    where = str(VIP[family]), 7000
    with (
        machine.do(lambda: socket.create_server(where, family=kind)) as server,
        netns.inside(pair[1], lambda: socket.create_connection(where, 20)),
    ):
        server.accept()[0].close()
    route = machine.do(lambda: machine.netlink.route(Address.parse(NEIGHBOUR[family])))
    assert route is not None and route.source == Address.parse(OWN[family])


def test_all_is_taken_back_without_a_daemon(machine: Machine, tmp_path: Path) -> None:
    """What was there before stays."""
    addresses = machine.do(lambda: ip("-o address"))
    machine.do(lambda: machine.vips.want({("eth0", vip) for vip in VIP.values()} | {("eth0", Address.parse(OWN[4]))}))
    assert machine.do(lambda: ip("-o address")) != addresses
    machine.do(lambda: vips.take_back(tmp_path / "vips.json"))
    assert machine.do(lambda: ip("-o address")).count("\n") == addresses.count("\n")
    assert not (tmp_path / "vips.json").exists()
    assert not machine.has(4)


def test_an_interface_that_loses_its_addresses_gets_them_back(machine: Machine) -> None:
    """Linux takes IPv6 addresses off an interface that is set down."""
    machine.do(lambda: machine.vips.want({("eth0", vip) for vip in VIP.values()}))
    until(lambda: machine.has(4) and machine.has(6), "the addresses are not in use")
    machine.do(lambda: ip("link set eth0 down"))
    assert not machine.has(6)
    machine.do(lambda: ip("link set eth0 up"))
    machine.do(machine.vips.sync)
    until(lambda: machine.has(4) and machine.has(6), "the addresses are not in use again")
    assert machine.vips.warnings() == []
