"""The check of BFD sessions, by bfdd of FRR in two hosts that each watch the other.

+-------------------------+            +-------------------------+
| near: zebra, bfdd       |---- veth --| far: zebra, bfdd        |
|   10.9.1.1              |            |   10.9.1.2              |
|   fd19::1               |            |   fd19::2               |
+-------------------------+            +-------------------------+
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.asking import HASTY_S, PATIENT_S, TIMED_OUT, UP, ask_at
from tests.servers.hosts import pair, run
from tests.servers.server import Server, program
from xlvs.demo.wait import until

NEAR, FAR = f"xb{os.getpid()}n", f"xb{os.getpid()}f"
NETWORKS = {4: "10.9.1.", 6: "fd19::"}
ADDRESS = {family: f"{network}2" for family, network in NETWORKS.items()}
NOBODY = {4: "10.9.1.3", 6: "fd19::3"}
CUT = "table inet cut { chain input { type filter hook input priority 0; policy drop; }; }"
BFDD = """\
bfd
 peer 10.9.1.{peer} local-address 10.9.1.{own} interface eth0
  receive-interval 50
  transmit-interval 50
 !
 peer fd19::{peer} local-address fd19::{own} interface eth0
  receive-interval 50
  transmit-interval 50
 !
 peer 10.9.1.3 interface eth0
  receive-interval 50
  transmit-interval 50
 !
!
"""


@pytest.fixture(scope="module", autouse=True)
def hosts() -> Iterator[None]:
    """Make both hosts."""
    with pair(NEAR, FAR, NETWORKS):
        yield


class Frr(Server):
    """A daemon of FRR in one of the hosts; *beside* is the one whose directory it shares."""

    def __init__(self, daemon: str, host: str, config: str, beside: Server | None = None) -> None:
        super().__init__()
        self.place = beside.directory if beside else self.directory
        for directory in {self.directory, self.place}:
            shutil.chown(directory, "frr", "frr")
        self.socket = self.place / f"{daemon}.vty"
        argv = ["ip", "netns", "exec", host, f"/usr/lib/frr/{daemon}", "-z", f"{self.place}/zserv.api", "-P", "0"]
        argv += ["--vty_socket", str(self.place), "-i", f"{self.directory}/pid", "-f", str(self.write("conf", config))]
        self.argv = [*argv, "--bfdctl", f"{self.directory}/bfdctl"] if daemon == "bfdd" else argv
        self.ready = self.socket.exists

    def kill(self) -> None:
        """End it, with the socket that it leaves."""
        super().kill()
        with contextlib.suppress(FileNotFoundError):
            self.socket.unlink()


@contextlib.contextmanager
def bfdd(host: str) -> Iterator[Frr]:
    """Give a bfdd, and a zebra that tells it of the interfaces."""
    own, peer = (1, 2) if host == NEAR else (2, 1)
    zebra = Frr("zebra", host, "")
    with zebra, Frr("bfdd", host, BFDD.format(own=own, peer=peer), zebra) as daemon:
        assert isinstance(daemon, Frr)
        yield daemon


@pytest.fixture(scope="module")
def near(hosts: None) -> Iterator[Frr]:
    """Give out the bfdd that is asked."""
    with bfdd(NEAR) as daemon:
        yield daemon


@pytest.fixture
def far(hosts: None) -> Iterator[Frr]:
    """Give out the bfdd at the other end."""
    with bfdd(FAR) as daemon:
        yield daemon


def ask(near: Frr, address: str, timeout: float = PATIENT_S, **options: Any) -> str:
    """Ask the near bfdd."""
    return ask_at(address, "bfd", 80, {"socket": str(near.socket), **options}, timeout)


def becomes(near: Frr, address: str, verdict: str, **options: Any) -> None:
    """Ask until the answer is *verdict*."""
    found = [""]

    def is_so() -> bool:
        found[0] = ask(near, address, **options)
        return found[0].startswith(verdict)

    until(is_so, f"the session with {address} does not become {verdict!r}")


def test_a_session_goes_up_and_down(near: Frr, far: Frr, family: int) -> None:
    """A session is up while both ends live: not while the other end is stopped or dead, and again when it is back."""
    address = ADDRESS[family]
    becomes(near, address, UP)
    far.pause()
    becomes(near, address, "its session is down")
    far.resume()
    becomes(near, address, UP)
    far.kill()
    becomes(near, address, "its session is down")
    far.start()
    becomes(near, address, UP)


def test_a_cut_link_is_seen(near: Frr, far: Frr, family: int) -> None:
    """A session over a link that is cut is down, and is back with it."""
    address = ADDRESS[family]
    becomes(near, address, UP)
    run("ip", "netns", "exec", FAR, program("nft"), CUT)
    try:
        becomes(near, address, "its session is down")
    finally:
        run("ip", "netns", "exec", FAR, program("nft"), "delete table inet cut")
    becomes(near, address, UP)


def test_the_right_session_is_looked_at(near: Frr, far: Frr) -> None:
    """A peer, an interface and a VRF each say which session is meant."""
    becomes(near, ADDRESS[4], UP)
    assert ask(near, "192.0.2.1", peer=ADDRESS[4], interface="eth0", vrf="default") == UP
    assert ask(near, NOBODY[4]) == "its session is down"
    assert ask(near, NOBODY[6]) == f"bfdd has no session with {NOBODY[6]}"
    assert ask(near, ADDRESS[4], interface="eth9") == f"bfdd has no session with {ADDRESS[4]}"
    assert ask(near, ADDRESS[4], vrf="red") == f"bfdd has no session with {ADDRESS[4]}"


def test_a_bfdd_that_hangs_dies_and_is_back(near: Frr, far: Frr) -> None:
    """Without an answer of our own bfdd a server is not known to be well."""
    address = ADDRESS[4]
    becomes(near, address, UP)
    near.pause()
    assert ask(near, address, HASTY_S) == TIMED_OUT
    near.resume()
    becomes(near, address, UP)
    near.kill()
    assert "No such file or directory" in ask(near, address)
    near.start()
    becomes(near, address, UP)


def test_another_daemon_is_no_bfdd(near: Frr) -> None:
    """What answers, but knows nothing of BFD, is a failure."""
    zebra = near.socket.with_name("zebra.vty")
    answer = ask_at(ADDRESS[4], "bfd", 80, {"socket": str(zebra)})
    assert answer.startswith("bfdd does not answer as bfdd does: ")
