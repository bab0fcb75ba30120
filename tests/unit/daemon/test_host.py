"""What is asked of the host, and what is said about it."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path

import pytest

from xlvs.daemon.host import advice, netns, sysctls
from xlvs.daemon.host.netlink import ROUTE_LOCAL, ROUTE_UNICAST, Route
from xlvs.daemon.host.routes import Routes
from xlvs.daemon.lock import Lock
from xlvs.daemon.paths import Paths
from xlvs.errors import HostError, InvalidError
from xlvs.model import Server, Service, ServiceKey, State
from xlvs.model.server import Address

VIP = ipaddress.ip_address("192.0.2.1")
SERVER = ipaddress.ip_address("10.0.0.1")
FAR = ipaddress.ip_address("10.9.0.1")
GATEWAY = ipaddress.ip_address("10.0.0.253")
OWN = ipaddress.ip_address("10.0.0.254")
OTHER = ipaddress.ip_address("203.0.113.1")


class FakeNetlink:
    """A host with two interfaces: 2 towards the servers, 3 elsewhere."""

    def __init__(self) -> None:
        self.routes: dict[Address, Route] = {
            VIP: Route(ROUTE_LOCAL, 1, None, VIP),
            SERVER: Route(ROUTE_UNICAST, 2, None, OWN),
            FAR: Route(ROUTE_UNICAST, 2, GATEWAY, OWN),
        }
        self.own = [(3, OTHER, 0), (2, OWN, 0), (2, ipaddress.ip_address("fe80::1"), 253)]
        self.probed: set[tuple[Address, int]] = set()

    def route(self, address: Address) -> Route | None:
        """Return the route to an address."""
        return self.routes.get(address)

    def addresses(self) -> list[tuple[int, Address, int]]:
        """Return the host's addresses."""
        return self.own

    def probe(self, address: Address, ifindex: int) -> None:
        """Note which neighbour was asked for."""
        self.probed.add((address, ifindex))


def routes(*virtual: Address, netlink: FakeNetlink | None = None) -> Routes:
    """Return the routes of the host, with some addresses being virtual."""
    return Routes(netlink or FakeNetlink(), lambda address: address in virtual)  # type: ignore[arg-type]


def test_the_source_is_what_the_host_itself_would_use() -> None:
    """The preferred source of the route, unless it is a virtual address."""
    assert routes().source(SERVER) == OWN


def test_a_virtual_address_is_replaced_by_one_of_the_same_interface() -> None:
    """Replies to a virtual address would never find their way back to a local client."""
    netlink = FakeNetlink()
    second = ipaddress.ip_address("10.0.0.252")
    netlink.own.append((2, second, 0))
    assert routes(OWN, netlink=netlink).source(SERVER) == second


def test_any_address_is_better_than_none() -> None:
    """Without another address on the interface, one of another interface is used; link-local ones never."""
    assert routes(OWN).source(SERVER) == OTHER
    assert routes(OWN, OTHER).source(SERVER) is None


def test_an_unreachable_server_has_no_source() -> None:
    """Without a route there is no source."""
    assert routes().source(ipaddress.ip_address("198.51.100.1")) is None


def test_next_hops_are_probed_once_each() -> None:
    """A server on the link is asked for itself, one behind a router for the router, local ones not at all."""
    netlink = FakeNetlink()
    routes(netlink=netlink).probe([SERVER, FAR, FAR, VIP])
    assert netlink.probed == {(SERVER, 2), (GATEWAY, 2)}


def test_routes_are_remembered_until_something_changes() -> None:
    """The kernel is asked once, and again after `forget`."""
    netlink = FakeNetlink()
    known = routes(netlink=netlink)
    assert known.source(SERVER) == OWN
    netlink.routes[SERVER] = Route(ROUTE_UNICAST, 3, None, OTHER)
    assert known.source(SERVER) == OWN
    known.forget()
    assert known.source(SERVER) == OTHER


def advise(vip: Address = VIP, server: Address = SERVER, forward: str = "nat", **values: str) -> str:
    """Return the warnings about one service with one server; *values* are sysctls by their last two words."""
    key = ServiceKey("tcp", vip, 80)
    state = State({key: Service(key, servers=(Server(server, 80, forward),))})
    known = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
    known |= {f"net.ipv4.conf.{name.replace('_', '.', 1)}": value for name, value in values.items()}
    if "ip_forward" in values:
        known["net.ipv4.ip_forward"] = values["ip_forward"]
    return "\n".join(advice.warnings(state, routes(), ["eth0"], known.get))


def test_a_good_host_needs_no_advice() -> None:
    """Nothing is said about a director that will work."""
    assert advise(all_rp_filter="0", eth0_rp_filter="2") == ""


def test_a_virtual_address_that_is_not_here_is_told() -> None:
    """Clients would not reach it, and the sentence names the command."""
    assert "ip address add 198.51.100.9/32" in advise(vip=ipaddress.ip_address("198.51.100.9"))


def test_forwarding_that_is_off_is_told() -> None:
    """The director forwards by the host's own routes."""
    assert "net.ipv4.ip_forward=1" in advise(ip_forward="0")


@pytest.mark.parametrize("name", ["all_rp_filter", "eth0_rp_filter", "lo_rp_filter"])
def test_a_strict_filter_is_told(name: str) -> None:
    """Strict reverse-path filtering, everywhere or on one interface, is named."""
    assert "rp_filter is strict" in advise(**{name: "1"})


def test_a_loose_filter_everywhere_beats_a_strict_one() -> None:
    """The kernel takes the larger of both values (ip-sysctl.rst), so 2 for all is loose."""
    assert advise(all_rp_filter="2", eth0_rp_filter="1") == ""


def test_servers_that_cannot_be_reached_are_told() -> None:
    """No route, or the director itself."""
    assert "no route" in advise(server=ipaddress.ip_address("198.51.100.1"))
    assert "this director itself" in advise(server=VIP)


def test_sysctls_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first value is kept however often xlvs sets one, and restored; a value that is right already is not ours."""
    root, kept = tmp_path / "sys", tmp_path / "kept.json"
    (root / "net").mkdir(parents=True)
    for name in ("a", "b"):
        (root / "net" / name).write_text("0\n")
    monkeypatch.setattr(sysctls, "_ROOT", root)
    assert sysctls.set_once("net.a", "1", kept)
    assert not sysctls.set_once("net.a", "1", kept)
    assert sysctls.set_once("net.a", "2", kept)
    assert not sysctls.set_once("net.b", "0", kept)
    assert not sysctls.set_once("net.missing", "1", kept)
    assert json.loads(kept.read_text())["values"] == {"net.a": "0"}
    assert sysctls.restore(kept) == ["net.a"]
    assert (root / "net" / "a").read_text() == "0"
    assert not kept.exists()


def test_sysctls_of_a_namespace_that_is_gone_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values from another namespace are never written into this one."""
    root, kept = tmp_path / "sys", tmp_path / "kept.json"
    (root / "net").mkdir(parents=True)
    (root / "net" / "a").write_text("1")
    monkeypatch.setattr(sysctls, "_ROOT", root)
    kept.write_text(json.dumps({"netns": netns.identity() + 1_000_000, "values": {"net.a": "0"}}))
    sysctls.restore(kept)
    assert (root / "net" / "a").read_text() == "1"


def test_dots_in_interface_names_are_slashes() -> None:
    """As sysctl(8) has it, ``net/ipv4`` dots and slashes change places."""
    assert sysctls.path_of("net.ipv4.conf.eth0/7.rp_filter") == Path("/proc/sys/net/ipv4/conf/eth0.7/rp_filter")


def test_an_instance_has_one_daemon(tmp_path: Path) -> None:
    """A second one is told who is there; a lock that nobody signed leaves no file."""
    paths = Paths("test", tmp_path / "run", tmp_path / "state")
    with Lock(paths) as lock:
        lock.sign()
        with pytest.raises(HostError, match="has a daemon already"):
            Lock(paths)
    assert Lock.kept_netns(paths) == netns.identity()
    other = Paths("other", tmp_path / "run", tmp_path / "state")
    with Lock(other):
        pass
    assert not other.lock.exists()


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "a b", "x" * 65, "-x"])
def test_a_name_that_cannot_be_a_file_is_refused(name: str) -> None:
    """An instance's name becomes file names."""
    with pytest.raises(InvalidError, match="instance name"):
        Paths.of(name)
