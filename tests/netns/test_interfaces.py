"""The daemon and the interfaces of its namespace: whatever comes, goes, or is renamed while it runs.

director ── veth ── peer       (one namespace each; nothing is balanced here)
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xlvs.dataplane import syscalls
from xlvs.dataplane.uapi import AttachType, ProgSpec, ProgType
from xlvs.demo import ethtool, netns
from xlvs.demo.director import Director
from xlvs.demo.wait import until

NUMBERS = itertools.count(1)
XDP_PASS = bytes.fromhex("b7000000020000009500000000000000")  # r0 = 2; exit
XDP_NATIVE = 1 << 2  # XDP_FLAGS_DRV_MODE


def ip(*words: str) -> str:
    """Run `ip` and return what it prints."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@dataclass
class Site:
    """A director's namespace with a veth, and the namespace at its other end."""

    director: Director
    peer: str

    @property
    def name(self) -> str:
        """The director's namespace."""
        return self.director.namespace

    def ip(self, *words: str) -> str:
        """Run `ip` in the director's namespace."""
        return ip("-n", self.name, *words)

    def add(self, name: str) -> None:
        """Add a veth to the director's namespace, with its other end in the peer's."""
        end = f"end{next(NUMBERS)}"
        self.ip("link", "add", name, "type", "veth", "peer", "name", end, "netns", self.peer)
        self.ip("link", "set", name, "up")
        ip("-n", self.peer, "link", "set", end, "up")

    def rename(self, old: str, new: str) -> None:
        """Give an interface another name."""
        self.ip("link", "set", "dev", old, "down")
        self.ip("link", "set", "dev", old, "name", new, "up")

    def end(self) -> str:
        """Return the name of the only other end."""
        links = json.loads(ip("-n", self.peer, "-j", "link", "show", "type", "veth"))
        assert len(links) == 1
        return str(links[0]["ifname"])

    def hooks(self) -> dict[str, str]:
        """Return every interface's hook as the daemon tells it."""
        return {row["name"]: row["hook"] for row in self.director.ask("interfaces")}

    def pins(self) -> set[str]:
        """Return the pinned links."""
        return {path.name for path in Path(f"/run/xlvs/{self.director.instance}.bpf/links").iterdir()}

    def has(self, **hooks: str) -> None:
        """Wait until the interfaces have just these hooks, and each hook its pin."""
        pins = {"lo-tc"}
        for name, hook in hooks.items():
            pins |= {f"{name}-{part}" for part in hook.split("+") if hook != "none"}
        until(lambda: self.hooks() == hooks and self.pins() == pins, f"{hooks} is not {self.hooks()}, {self.pins()}")

    def xdp(self, name: str) -> int:
        """Return the id of the XDP program on an interface, 0 if there is none."""
        link: dict[str, Any] = json.loads(self.ip("-j", "link", "show", "dev", name))[0]
        return int(link.get("xdp", {}).get("prog", {}).get("id", 0))

    def restart(self, interfaces: str) -> None:
        """Kill the daemon and start one with another choice of interfaces."""
        assert self.director.process is not None
        self.director.process.kill()
        self.director.process.wait()
        self.director.interfaces = interfaces
        self.director.start()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Give out a running director with `eth0`, and remove every trace of it."""
    name = f"xlvs-i{os.getpid()}-{next(NUMBERS)}"
    made = Site(Director(f"{name}-d", f"test-{name}", tmp_path / "log"), f"{name}-p")
    try:
        ip("netns", "add", made.name)
        ip("netns", "add", made.peer)
        made.ip("link", "set", "lo", "up")
        made.add("eth0")
        made.director.start()
        yield made
    finally:
        made.director.purge()
        for namespace in (made.name, made.peer):
            subprocess.run(["ip", "netns", "delete", namespace], check=False)


def test_interfaces_that_appear_later_are_taken_and_those_that_go_are_forgotten(site: Site) -> None:
    """A new interface gets its hook by itself, one that is deleted leaves no pin."""
    site.has(eth0="tc")
    site.add("eth1.5")
    until(lambda: site.hooks() == {"eth0": "tc", "eth1.5": "tc"}, "eth1.5 was not taken")
    assert site.pins() == {"lo-tc", "eth0-tc", "eth1%2E5-tc"}
    site.ip("link", "delete", "eth1.5")
    site.has(eth0="tc")


def test_a_bridge_takes_over_from_its_ports(site: Site) -> None:
    """When an interface becomes a bridge port its hook moves to the bridge, and back."""
    site.ip("link", "add", "br0", "type", "bridge")
    site.ip("link", "set", "eth0", "master", "br0")
    site.has(eth0="none", br0="tc")
    site.ip("link", "set", "eth0", "nomaster")
    site.has(eth0="tc", br0="tc")


def test_a_renamed_interface_keeps_its_hook(site: Site) -> None:
    """The pin follows the name, also when two interfaces change names, and a restart finds both."""
    site.add("eth1")
    site.has(eth0="tc", eth1="tc")
    for old, new in (("eth0", "tmp"), ("eth1", "eth0"), ("tmp", "eth1")):
        site.rename(old, new)
    site.has(eth0="tc", eth1="tc")
    site.rename("eth0", "eth7")
    site.has(eth1="tc", eth7="tc")
    site.restart("auto")
    site.has(eth1="tc", eth7="tc")


def test_names_that_changed_while_no_daemon_ran_are_found(site: Site) -> None:
    """A link stays on its interface whatever that is called now, and its pin is renamed at the next start."""
    assert site.director.process is not None
    site.director.process.kill()
    site.director.process.wait()
    site.rename("eth0", "wan")
    site.add("eth0")
    site.director.start()
    site.has(eth0="tc", wan="tc")


def test_another_choice_at_the_next_start_is_carried_out(site: Site) -> None:
    """What an earlier daemon attached and this one does not want is taken off, and the other way round."""
    site.restart("none")
    site.has(eth0="none")
    site.restart("eth0=tc")
    site.has(eth0="tc")


def test_xdp_on_a_veth_waits_for_a_peer_that_takes_redirects(site: Site) -> None:
    """Asked for XDP, a veth gets TC as long as redirects to it would be lost, and the reason says so."""
    site.restart("eth0=xdp")
    site.has(eth0="tc")
    assert "gro on" in site.director.why("eth0")
    netns.inside(site.peer, lambda: ethtool.turn_gro_on(site.end()))
    site.restart("eth0=xdp")
    site.has(eth0="xdp+tc")
    first = site.xdp("eth0")
    assert first
    site.restart("eth0=xdp")
    assert site.xdp("eth0") not in (0, first)
    site.restart("eth0=tc")
    site.has(eth0="tc")
    assert site.xdp("eth0") == 0


def test_an_xdp_slot_that_is_taken_is_left_alone(site: Site) -> None:
    """Somebody else's XDP program stays, TC is used instead, and the reason says so."""
    netns.inside(site.peer, lambda: ethtool.turn_gro_on(site.end()))
    program = syscalls.prog_load(ProgSpec("other", ProgType.XDP, XDP_PASS, "GPL"))
    ifindex = json.loads(site.ip("-j", "link", "show", "dev", "eth0"))[0]["ifindex"]
    link = netns.inside(site.name, lambda: syscalls.link_create(program, ifindex, AttachType.XDP, XDP_NATIVE))
    try:
        other = site.xdp("eth0")
        site.restart("eth0=xdp")
        site.has(eth0="tc")
        assert "another XDP program" in site.director.why("eth0")
        assert site.xdp("eth0") == other
    finally:
        syscalls.close([link, program])


def test_purge_takes_everything_off(site: Site) -> None:
    """After a purge no program, mount, file or changed sysctl is left, whether a daemon runs or not."""
    site.director.admin("-A", "-t", "192.0.2.1:80")
    reached = Path(f"/run/xlvs/{site.director.instance}.bpf")
    assert reached.is_dir()
    for running in (True, False):
        if not running:
            site.director.start()
            site.director.admin("-A", "-t", "192.0.2.1:80")
            assert site.director.process is not None
            site.director.process.kill()
            site.director.process.wait()
        assert sysctl(site) == "1"
        site.director.purge()
        assert sysctl(site) == "0"
        assert list(Path("/run/xlvs").glob(f"{site.director.instance}*")) == []
        assert not Path(f"/var/lib/xlvs/{site.director.instance}").exists()


def sysctl(site: Site) -> str:
    """Return the sysctl that the daemon sets when there is a service."""
    words = ["ip", "netns", "exec", site.name, "cat", "/proc/sys/net/ipv4/conf/lo/accept_local"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
