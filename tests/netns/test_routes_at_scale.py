"""Asked once per region, the kernel says what it says when asked for each address, whatever its tables are.

east ─ host ─ west      (two wires, and nothing is sent)
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import socket
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyroute2 import netns as namespaces

from xlvs.daemon.host.netlink import ROUTE_LOCAL, ROUTE_UNICAST, Netlink, Route
from xlvs.daemon.host.routes import FEW, Routes
from xlvs.demo import netns
from xlvs.demo.wait import until
from xlvs.model import Address

T = TypeVar("T")
Net = ipaddress.IPv4Network | ipaddress.IPv6Network

NUMBERS = itertools.count(1)
HOST = """\
-4 link add east type veth peer name east-far
-4 link add west type veth peer name west-far
-4 link set east addrgenmode none
-4 link set west addrgenmode none
-4 link set east-far addrgenmode none
-4 link set west-far addrgenmode none
-4 link set lo up
-4 link set east up
-4 link set east-far up
-4 link set west up
-4 link set west-far up
-4 address add 10.0.0.1/24 dev east
-4 address add 10.0.1.1/24 dev west
-6 address add 2001:db8::1/64 dev east nodad
-6 address add 2001:db8:0:1::1/64 dev west nodad
-4 nexthop add id 1 via 10.0.0.9 dev east
-4 nexthop add id 2 via 10.0.1.9 dev west
-- nexthop add id 3 group 1/2
-6 nexthop add id 4 via 2001:db8::9 dev east
-6 nexthop add id 5 via 2001:db8:0:1::9 dev west
-- nexthop add id 6 group 4/5
""".splitlines()
WAYS = {
    4: [
        "via 10.0.0.9 dev east", "via 10.0.1.9 dev west", "dev east", "dev west src 10.0.0.1", "nhid 1", "nhid 3",
        "via inet6 2001:db8::9 dev east", "nexthop via 10.0.0.9 dev east nexthop via 10.0.1.9 dev west",
    ],
    6: [
        "via 2001:db8::9 dev east", "via 2001:db8:0:1::9 dev west", "dev east", "dev west", "nhid 4", "nhid 6",
        "via 2001:db8::9 dev east src 2001:db8:0:1::1",
        "nexthop via 2001:db8::9 dev east nexthop via 2001:db8:0:1::9 dev west",
    ],
}  # fmt: skip
NETS = {
    4: ["10.0.0.0/16", "192.0.2.0/24", "0.0.0.0/0"],
    6: ["2001:db8::/32", "2001:db8::/64", "2001:db8::/112", "fd00::/8", "fe80::/10", "2002::/16", "::/0"],
}


class Counted(Netlink):
    """Counts the addresses that are asked for."""

    asked = 0

    def routes(self, addresses: Sequence[Address]) -> list[Route | None]:
        """Count and ask."""
        self.asked += len(addresses)
        return super().routes(addresses)


def ip(lines: Iterable[str]) -> str:
    """Have ip(8) carry out *lines* in the caller's namespace; return what it says of those the kernel refuses."""
    said = ""
    for family in ("-4", "-6", "--"):
        mine = "".join(f"{line[3:]}\n" for line in lines if line.startswith(family))
        argv = ["ip", *([family] if family != "--" else []), "-force", "-batch", "-"]
        said += subprocess.run(argv, input=mine, text=True, capture_output=True).stderr
    return said


def settle(netlink: Netlink, lines: Iterable[str]) -> None:
    """Add addresses, and wait until they are in use: the kernel takes IPv6 ones up a little later."""
    ip(lines)
    own = [found.address for found in netlink.addresses()]
    until(lambda: all(route and route.type == ROUTE_LOCAL for route in netlink.routes(own)), "addresses are not in use")


@contextlib.contextmanager
def host(lines: Sequence[str] = ()) -> Iterator[str]:
    """Give out a namespace with the two wires and what *lines* say."""
    name = f"xlvs-t{os.getpid()}-routes{next(NUMBERS)}"
    namespaces.create(name)
    try:
        assert netns.inside(name, lambda: ip(HOST)) == ""
        ask(name, lambda netlink: settle(netlink, [line for line in lines if " address " in line]))
        netns.inside(name, lambda: ip([line for line in lines if " address " not in line]))
        yield name
    finally:
        namespaces.remove(name)


def ask(namespace: str, call: Callable[[Counted], T]) -> T:
    """Return what *call* returns for a new netlink socket in *namespace*."""

    def inside() -> T:
        netlink = Counted()
        try:
            return call(netlink)
        finally:
            netlink.close()

    return netns.inside(namespace, inside)


@st.composite
def nets(draw: st.DrawFn, version: int) -> Net:
    """Draw a prefix; few bits are free, so that one is often inside another."""
    around = ipaddress.ip_network(draw(st.sampled_from(NETS[version])))
    longer = draw(st.integers(0, around.max_prefixlen - around.prefixlen))
    number = int(around.network_address)
    for bit in draw(st.sets(st.integers(0, longer), max_size=2)) if longer else ():
        number |= 1 << around.max_prefixlen - around.prefixlen - max(bit, 1)
    address = (ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(number)
    return ipaddress.ip_network((address, around.prefixlen + longer), strict=False)


@st.composite
def tables(draw: st.DrawFn, version: int) -> tuple[list[str], list[Net]]:
    """Draw lines for ip(8) that fill the tables of one family, and the prefixes in them."""
    used = draw(st.lists(nets(version), min_size=1, max_size=12))
    lines = []
    for number, net in enumerate(used):
        way = draw(st.sampled_from(WAYS[version]))
        table = f"table {draw(st.sampled_from(['main', 'local', 'default', '77']))}"
        lines.append(
            draw(
                st.sampled_from(
                    [
                        *[f"route add {net} {way} {table} metric {number}"] * 5,
                        f"route add {draw(st.sampled_from(['blackhole', 'throw', 'unreachable']))} {net} {table}",
                        f"route add local {net} dev lo {table}",
                        f"rule add to {net} lookup 77 pref {number}",
                        f"rule add to {net} prohibit",
                        f"rule add from {draw(st.sampled_from(NETS[version]))} lookup 77 pref {number}",
                        f"rule add lookup main suppress_prefixlength {number} pref {number}",
                        *[f"address add {net[0]}/{net.prefixlen} dev {draw(st.sampled_from(['east', 'lo']))} nodad"]
                        * 3,
                        f"address add {net[0]}/{net.max_prefixlen} dev west nodad preferred_lft 0",
                        f"addrlabel add prefix {net} label {number + 100}",
                    ]
                )
            )
        )
    lines = [line.replace(" nodad", "") for line in lines] if version == 4 else lines
    return [f"-{version} {line}" for line in lines], used


def interesting(used: Collection[Net], version: int) -> list[Address]:
    """Return addresses at the ends of prefixes, inside them and beside them, one for each bit, and many more."""
    numbers = {int(ipaddress.ip_address("10.0.0.1" if version == 4 else "2001:db8::1"))}
    for net in used:
        numbers |= {int(net[0]), int(net[-1]), int(net[0]) - 1, int(net[-1]) + 1, int(net[0]) | 1}
    bits = 32 if version == 4 else 128
    numbers |= {number ^ 1 << bit for number in set(numbers) for bit in range(bits)}
    make = ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address
    packed = [make(number) for number in sorted(numbers) if 0 <= number < 1 << bits]
    return [Address.parse(str(a)) for a in packed if version == 4 or a.ipv4_mapped is None]  # type: ignore[union-attr]


@st.composite
def hosts(draw: st.DrawFn) -> tuple[list[str], list[Address]]:
    """Draw what a host's tables are filled with, and the addresses to ask for."""
    four, nets4 = draw(tables(4))
    six, nets6 = draw(tables(6))
    return four + six, interesting(nets4, 4) + interesting(nets6, 6)


SHARED = ["-6 route add 2001:db8::/32 nhid 4", "-6 route add 2001:db8::/33 nhid 6"]
"""One next hop of the group is that of the wider route: the kernel takes one route for the other."""


@settings(max_examples=60)
@given(hosts())
@example((SHARED, interesting([ipaddress.ip_network("2001:db8::/33")], 6)))
def test_regions_answer_as_addresses_do(drawn: tuple[list[str], list[Address]]) -> None:
    """Whatever routes, rules, next hops, labels and own addresses there are: route and source are the same."""
    lines, addresses = drawn
    assert len(addresses) > FEW
    with host(lines) as namespace:
        routes = ask(namespace, lambda netlink: Routes(netlink, lambda _: False).routes(addresses))
        alone = ask(namespace, lambda netlink: dict(zip(addresses, netlink.routes(addresses), strict=True)))
        different = {str(a): (routes[a], alone[a]) for a in addresses if routes[a] != alone[a]}
    assert different == {}


def test_many_servers_behind_few_routes_cost_few_questions() -> None:
    """The kernel is asked as often as there are routes and own addresses, not as there are servers."""
    four = [Address.parse(f"10.{a}.{b}.{c}") for a in range(2, 4) for b in range(100) for c in range(1, 51)]
    six = [Address.parse(f"2001:db8:{a:x}:{b:x}::9") for a in range(2, 4) for b in range(5000)]
    lines = ["-4 route add 10.0.0.0/8 via 10.0.0.9", "-6 route add 2001:db8::/32 via 2001:db8::9"]

    def ask_for_all(netlink: Counted) -> int:
        found = Routes(netlink, lambda _: False).sources(four + six)
        assert set(found.values()) == {Address.parse("10.0.0.1"), Address.parse("2001:db8::1")}
        return netlink.asked

    with host(lines) as namespace:
        assert ask(namespace, ask_for_all) < 50


def test_more_routes_than_servers_are_not_read_for_long() -> None:
    """A router that knows the whole Internet is asked for each server instead, and the answers are right."""
    lines = [f"-4 route add 172.16.{a}.{b}/32 via 10.0.0.9" for a in range(4) for b in range(200)]
    wanted = [Address.parse(f"172.16.{a}.{b}") for a in range(2) for b in range(200)]

    def ask_for_all(netlink: Counted) -> tuple[set[Route | None], int]:
        return set(Routes(netlink, lambda _: False).routes(wanted).values()), netlink.asked

    with host(lines) as namespace:
        east = netns.inside(namespace, lambda: socket.if_nametoindex("east"))
        expected = Route(ROUTE_UNICAST, east, Address.parse("10.0.0.9"), Address.parse("10.0.0.1"), 4)
        assert ask(namespace, ask_for_all) == ({expected}, len(wanted))
