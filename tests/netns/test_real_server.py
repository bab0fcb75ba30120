"""`xlvs real-server` changes what it must and puts everything back.

real1 (VIP on its loopback) ── switch
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from xlvs.cli.real_server import SO_NETNS_COOKIE
from xlvs.demo import netns
from xlvs.demo.director import real_server
from xlvs.demo.topology import VIP, Topology
from xlvs.errors import HostError

NUMBERS = itertools.count(1)
KEYS = ("arp_ignore", "arp_announce", "rp_filter")


@pytest.fixture
def namespace() -> Iterator[str]:
    """Give out a real server's namespace with sysctls that are not the default."""
    topology = Topology(f"xlvs-r{os.getpid()}-{next(NUMBERS)}", "route")
    try:
        topology.build()
        write(topology.servers[0], "all/rp_filter", 1)
        write(topology.servers[0], "eth0/arp_announce", 1)
        yield topology.servers[0]
        for file in records(topology.servers[0]):
            file.unlink()
    finally:
        topology.remove()


def write(namespace: str, sysctl: str, value: int) -> None:
    """Set a sysctl of IPv4 in *namespace*."""
    netns.inside(namespace, lambda: Path(f"/proc/sys/net/ipv4/conf/{sysctl}").write_text(str(value)))


def shown(namespace: str, *argv: str) -> str:
    """Return what a command prints in *namespace*."""
    return netns.popen(namespace, argv, stdout=subprocess.PIPE).communicate()[0]


def state(namespace: str) -> dict[str, str]:
    """Return all that the command may change."""

    def sysctls() -> str:
        root = Path("/proc/sys/net/ipv4/conf")
        return " ".join((root / scope / key).read_text().strip() for scope in ("all", "eth0", "lo") for key in KEYS)

    return {
        "sysctls": netns.inside(namespace, sysctls),
        "addresses": shown(namespace, "ip", "-brief", "address"),
        "qdiscs": shown(namespace, "tc", "qdisc", "show"),
        "filters": shown(namespace, "tc", "filter", "show", "dev", "eth0", "ingress"),
        "files": " ".join(path.name for path in records(namespace)),
    }


def records(namespace: str) -> list[Path]:
    """Return the files that the command keeps for *namespace*, by the kernel's own number of it."""

    def cookie() -> int:
        with socket.socket() as sock:
            return int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), sys.byteorder)

    return sorted(Path("/run/xlvs").glob(f"real-server-{netns.inside(namespace, cookie)}*"))


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_undo_restores_everything(namespace: str, forward: str) -> None:
    """After setup, twice, for both families, and undo, nothing is different from before."""
    before = state(namespace)
    for vip in (*VIP.values(), VIP[4]):
        real_server([namespace], "setup", "--forward", forward, "--vip", vip)
    between = state(namespace)
    assert f"{VIP[4]}/32" in between["addresses"] and f"{VIP[6]}/128" in between["addresses"]
    assert ("xlvs_decap" in between["filters"]) is (forward == "ipip")
    for vip in VIP.values():
        real_server([namespace], "undo", "--forward", forward, "--vip", vip)
    assert state(namespace) == before


def test_addresses_are_undone_one_by_one(namespace: str) -> None:
    """What another virtual address still needs stays."""
    before = state(namespace)
    real_server([namespace], "setup", "--forward", "ipip", "--vip", "192.0.2.1")
    only_one = state(namespace)
    real_server([namespace], "setup", "--forward", "route", "--vip", "192.0.2.2", "--interface", "eth0")
    real_server([namespace], "undo", "--vip", "192.0.2.2")
    after = state(namespace)
    assert {key: after[key] for key in ("sysctls", "addresses", "qdiscs")} == {
        key: only_one[key] for key in ("sysctls", "addresses", "qdiscs")
    }
    assert "xlvs_decap" in after["filters"]
    real_server([namespace], "undo", "--vip", "192.0.2.1")
    assert state(namespace) == before


def test_strict_reverse_path_filter_becomes_loose_for_tunnels_only(namespace: str) -> None:
    """Direct routing works with a strict filter; a packet out of a tunnel may come from anywhere."""
    read: Callable[[], str] = Path("/proc/sys/net/ipv4/conf/eth0/rp_filter").read_text
    real_server([namespace], "setup", "--forward", "route", "--vip", VIP[4])
    assert netns.inside(namespace, read) == "0\n"
    real_server([namespace], "setup", "--forward", "ipip", "--vip", VIP[4])
    assert netns.inside(namespace, read) == "2\n"


def test_address_that_was_there_before_stays(namespace: str) -> None:
    """An address that the operator put on the loopback is not taken away by undo."""
    shown(namespace, "ip", "address", "add", f"{VIP[4]}/32", "dev", "lo")
    real_server([namespace], "setup", "--forward", "route", "--vip", VIP[4])
    real_server([namespace], "undo", "--vip", VIP[4])
    assert f"{VIP[4]}/32" in state(namespace)["addresses"]


def test_virtual_address_is_not_answered_for_by_arp(namespace: str) -> None:
    """The director alone owns the address on the wire, although the real server has it too."""
    client = namespace.replace("real1", "client")
    director = namespace.replace("real1", "director")
    shown(director, "ip", "address", "del", f"{VIP[4]}/32", "dev", "eth0")
    real_server([namespace], "setup", "--forward", "route", "--vip", VIP[4])
    with pytest.raises(OSError, match="No route to host|timed out"):
        netns.inside(client, lambda: socket.create_connection((VIP[4], 80), 5))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("setup", "--forward", "ipip", "--vip", "10.0.0.300"), "'10.0.0.300' is neither"),
        (("setup", "--forward", "route", "--vip", "127.0.0.1"), "127.0.0.1 cannot be a virtual address"),
        (("setup", "--vip", "10.0.0.100"), "setup needs --forward"),
        (("setup", "--forward", "ipip", "--vip", "10.0.0.100", "--interface", "eth7"), "no interface 'eth7'"),
        (("undo", "--forward", "route", "--vip", "10.0.0.100"), "nothing to undo"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    namespace: str, arguments: tuple[str, ...], sentence: str
) -> None:
    """One sentence, exit code 1, and everything as it was."""
    before = state(namespace)
    with pytest.raises(HostError, match=sentence):
        real_server([namespace], *arguments)
    assert state(namespace) == before


def test_lacking_root_is_said() -> None:
    """Without root the command says so and does nothing."""
    # Root is given up after the imports: nobody else may be allowed to read the checkout.
    script = """
import os, sys
from xlvs.cli import main, real_server
os.seteuid(65534)
sys.exit(main.main(["real-server", "setup", "--forward", "route", "--vip", "192.0.2.1"]))
"""
    done = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "xlvs: xlvs real-server must run as root\n"
