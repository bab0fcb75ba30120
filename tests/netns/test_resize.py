"""The flow table gets another size, or an xlvs with another layout takes over, and no flow notices.

client (wrk) ──┐                        ┌── real1
               ├─ switch ───────────────┼── real2
director (small table, then a large one)┘── real3
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import PEER, Lab
from tests.netns.test_crash import assert_none_failed, say, seen, settled, wrk
from tests.netns.test_upgrade import ROOT, dying, start
from xlvs.demo.director import Director
from xlvs.demo.wait import until
from xlvs.errors import HostError

WAYS = [("nat", "tc"), ("nat", "xdp"), ("route", "xdp"), ("ipip", "tc")]


@pytest.fixture(params=WAYS, ids="-".join)
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Give out a laboratory whose director has a small table."""
    forward, hook = request.param
    with Lab(forward, hook, tmp_path, options=("--flows", "4096")) as made:
        yield made


def end(director: Director, how: signal.Signals = signal.SIGTERM) -> None:
    """Stop the daemon."""
    assert director.process is not None
    director.process.send_signal(how)
    director.process.wait(20)


def resize(director: Director, flows: int) -> None:
    """Start the daemon with a table of this size."""
    director.options = ("--flows", str(flows))
    director.start()


def test_a_larger_table_under_load_fails_no_request(lab: Lab) -> None:
    """From 4,096 flows to 100,000 and to 20,000 under load: no failure on kept, on new, or on idle connections."""
    director = lab.director
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(lab.connect(family, PEER)) for family in (4, 6) for _ in range(8)]
        for sock in idle:
            sock.sendall(b"ECHO\n")
            say(sock, "before")
        load = [wrk(lab, 4), wrk(lab, 6, "-H", "Connection: close"), wrk(lab, 4, "-H", "Connection: close")]
        until(lambda: director.ask("counters")["flow_opened"] > 50, "no load arrived")
        for flows in (100_000, 20_000):
            end(director)
            resize(director, flows)
            assert director.ask("status")["max_flows"] == flows
            for sock in idle:
                say(sock, f"with {flows}")
        for process in load:
            assert_none_failed(process.communicate()[0])
        for sock in idle:
            say(sock, "after")


def test_all_flows_are_there_afterwards(lab: Lab) -> None:
    """The same flows with their states, servers and bytes, and the same loads of the servers."""
    director = lab.director
    with contextlib.ExitStack() as stack:
        for family in (4, 6):
            for _ in range(40):
                sock = stack.enter_context(lab.connect(family, PEER))
                sock.sendall(b"ECHO\n")
                say(sock, "before")
            datagrams = stack.enter_context(lab.datagram_socket(family, PEER))
            datagrams.send(b"before")
            datagrams.recv(100)
        before = settled(director)
        end(director)
        resize(director, 50_000)
        after = seen(director)
        assert after["flows"] == before["flows"]
        assert after == before


@pytest.mark.parametrize("moment", ["Handover.begin", "Handover.finish"])
def test_a_takeover_that_was_broken_off_is_finished_by_another(tmp_path: Path, moment: str) -> None:
    """Killed before or after the new programs are in use, and started with a third size: old and new flows go on."""
    with Lab("nat", "xdp", tmp_path, options=("--flows", "4096")) as lab, contextlib.ExitStack() as stack:
        director, held = lab.director, []

        def hold(count: int) -> None:
            for family in (4, 6):
                held.extend(stack.enter_context(lab.connect(family, PEER)) for _ in range(count))
            for sock in held[-2 * count :]:
                sock.sendall(b"ECHO\n")
            for sock in held:
                say(sock, f"with {len(held)}")

        hold(10)
        end(director)
        director.options = ("--flows", "50000")
        with pytest.raises(HostError, match="did not start"):
            start(director, dying(tmp_path / "dying", "xlvs.daemon.upgrade.handover", moment), ROOT / "src")
        hold(10)
        resize(director, 20_000)
        hold(10)
        assert director.ask("status")["max_flows"] == 20_000
        assert director.ask("flows/count")["states"]["ESTABLISHED"] == 60
        before = Path(f"/run/xlvs/{director.instance}.bpf/maps-new")
        assert not before.exists()


def test_a_table_too_small_is_refused(tmp_path: Path) -> None:
    """Fewer places than there are flows: one sentence with the numbers, and the table that was stays in use."""
    with Lab("nat", "tc", tmp_path, options=("--flows", "4096")) as lab, contextlib.ExitStack() as stack:
        held = [stack.enter_context(lab.connect(4, PEER)) for _ in range(30)]
        for sock in held:
            sock.sendall(b"ECHO\n")
            say(sock, "before")
        saved = lab.director.admin("-S", "-n")
        end(lab.director)
        with pytest.raises(HostError, match="30 IPv4 flows, which do not fit a table for 16: .*--flows"):
            resize(lab.director, 16)
        for sock in held:
            say(sock, "between")
        resize(lab.director, 4096)
        assert lab.director.admin("-S", "-n") == saved
        for sock in held:
            say(sock, "after")
