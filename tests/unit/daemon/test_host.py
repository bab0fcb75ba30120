"""What is asked of the host, and what is said about it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.daemon.host import FakeNetlink
from xlvs.daemon.host import advice, netns, sysctls
from xlvs.daemon.host.netlink import ROUTE_LOCAL, ROUTE_UNICAST, Route
from xlvs.daemon.host.routes import Routes
from xlvs.daemon.lock import Lock
from xlvs.daemon.paths import Paths
from xlvs.errors import HostError, InvalidError
from xlvs.model import Address, Server, Service, ServiceKey, State

VIP = Address.parse("192.0.2.1")
SERVER = Address.parse("10.0.0.1")


def known_routes() -> Routes:
    """Return the routes of a host that has the virtual address and reaches the server."""
    netlink = FakeNetlink({VIP: Route(ROUTE_LOCAL, 1, None, VIP), SERVER: Route(ROUTE_UNICAST, 2, None, None)})
    return Routes(netlink, lambda _: False)  # type: ignore[arg-type]


def advise(vip: Address = VIP, server: Address = SERVER, forward: str = "nat", **values: str) -> str:
    """Return the warnings about one service with one server; *values* are sysctls by their last two words."""
    key = ServiceKey("tcp", vip, 80)
    state = State({key: Service(key, servers=(Server(server, 80, forward),))})
    known = {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"}
    known |= {f"net.ipv4.conf.{name.replace('_', '.', 1)}": value for name, value in values.items()}
    if "ip_forward" in values:
        known["net.ipv4.ip_forward"] = values["ip_forward"]
    return "\n".join(advice.warnings(state, known_routes(), ["eth0"], known.get))


def test_a_good_host_needs_no_advice() -> None:
    """Nothing is said about a director that will work."""
    assert advise(all_rp_filter="0", eth0_rp_filter="2") == ""


def test_a_virtual_address_that_is_not_here_is_told() -> None:
    """Clients would not reach it, and the sentence names the command."""
    assert "ip address add 198.51.100.9/32" in advise(vip=Address.parse("198.51.100.9"))


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
    """There is no route; the director itself is one of them without more."""
    assert "no route" in advise(server=Address.parse("198.51.100.1"))
    assert "director itself" not in advise(server=VIP)


def test_an_address_that_xlvs_adds_itself_is_not_asked_for() -> None:
    """The operator has told where it is to be, so no command is needed."""
    key = ServiceKey("tcp", Address.parse("198.51.100.9"), 80)
    state = State({key: Service(key, device="eth0")})
    assert advice.warnings(state, known_routes(), ["eth0"], lambda _: None) == []


def test_many_that_are_wrong_in_one_way_are_counted() -> None:
    """The first few are named."""
    servers = tuple(Server(Address.parse(f"198.51.100.{n}"), 80) for n in range(100))
    key = ServiceKey("tcp", VIP, 80)
    found = advice.warnings(State({key: Service(key, servers=servers)}), known_routes(), [], lambda _: None)
    assert len(found) == advice.MOST
    assert found[0] == "there is no route to the real server 198.51.100.0"
    assert found[-1].endswith("(and 92 more addresses like this)")


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


def test_a_lock_says_who_has_it_last(tmp_path: Path) -> None:
    """Whatever it said before, longer or shorter, it can be read at every moment."""
    paths = Paths("x", tmp_path, tmp_path)
    for before in ("4194304 4026531840999\n", "1\n", "", "nonsense"):
        paths.lock.write_text(before)
        with Lock(paths) as lock:
            lock.sign()
        assert paths.lock.read_text() == f"{os.getpid()} {netns.identity()}\n"
    paths.lock.write_text("nonsense")
    assert Lock.kept_netns(paths) == 0


def test_where_no_lock_can_be_the_reason_is_said(tmp_path: Path) -> None:
    """The directory of the instances is a file, for example."""
    (tmp_path / "run").write_text("")
    with pytest.raises(HostError, match=r"cannot open .*/run/x\.lock: (File exists|Not a directory)"):
        Lock(Paths("x", tmp_path / "run", tmp_path))


def test_a_network_namespace_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the path where it was looked for."""
    with pytest.raises(HostError, match=r"no network namespace nowhere \(/run/netns/nowhere: No such file"):
        netns.enter("nowhere")
    with pytest.raises(HostError, match=f"no network namespace {tmp_path}/x"):
        netns.enter(f"{tmp_path}/x")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a.b", "a b", "x" * 65, "-x"])
def test_a_name_that_cannot_be_a_file_is_refused(name: str) -> None:
    """An instance's name becomes file names."""
    with pytest.raises(InvalidError, match="instance name"):
        Paths.of(name)
