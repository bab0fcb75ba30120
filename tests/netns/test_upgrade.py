"""Another xlvs takes over while traffic flows: with other layouts, with the same, or not at all.

client (wrk) ──┐                        ┌── real1
               ├─ switch ───────────────┼── real2
director (this xlvs, then another) ─────┘── real3

The other xlvs is this checkout with a change in ``bpf/``, built in a directory of its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.netns.lab import PEER, Lab
from tests.netns.test_crash import assert_none_failed, say, seen, settled, wrk
from tests.packet.releases import changed
from xlvs.demo.director import Director
from xlvs.demo.wait import until
from xlvs.errors import HostError

ROOT = Path(__file__).resolve().parents[2]
WAYS = [("nat", "tc"), ("route", "xdp")]

SERVERS = "\t__uint(max_entries, XLVS_MAX_SERVERS);\n\t__type(key, __u32);\n\t__type(value, struct xlvs_server);"
FLOWS = "\t__uint(max_entries, XLVS_MAX_FLOWS / 2);\n\t__type(key, __u32);\n\t__type(value, struct xlvs_bucket6);"


def built(target: Path, header: str, abi: tuple[str, str], map_: str) -> Path:
    """Build this checkout at *target* with *abi* in *header* changed, and *map_*'s schema raised; return its source."""
    for name in ("src", "bpf", "tools"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("objects", "__pycache__"))
    changing, maps = target / "bpf" / header, target / "bpf" / "maps.h"
    changing.write_text(changed(changing.read_text(), abi))
    text = maps.read_text()
    begin = text.rindex("\t__uint(schema_", 0, text.index(map_))
    word, _, version = text[begin : text.index(")", begin)].rpartition(" ")
    maps.write_text(text[:begin] + f"{word} {int(version) + 1}" + text[text.index(")", begin) :])
    environment = {**os.environ, "PYTHONPATH": str(target / "src")}
    for tool in ("gen_abi.py", "build_bpf.py"):
        subprocess.run([sys.executable, str(target / "tools" / tool)], env=environment, check=True, cwd=target)
    return target / "src"


@pytest.fixture(scope="session")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An xlvs that knows one thing more of every real server."""
    return built(
        tmp_path_factory.mktemp("newer"),
        "abi.h",
        ("\t__u32\tlife;", "\t__u32\trank[2];\n\t__u32\tlife;"),
        SERVERS,
    )


@pytest.fixture(scope="session")
def other_flows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An xlvs whose flows know one thing more: none of them can stay where it is."""
    return built(
        tmp_path_factory.mktemp("flows"),
        "abi_flow.h",
        ("\t__u32\tvirt[3];\n\t__u64\tpad;", "\t__u32\tvirt[3];\n\t__u64\trank;"),
        FLOWS,
    )


@pytest.fixture(params=WAYS, ids="-".join)
def own_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Give out a laboratory whose daemon may be stopped."""
    forward, hook = request.param
    with Lab(forward, hook, tmp_path) as made:
        yield made


@pytest.fixture(params=[signal.SIGTERM, signal.SIGKILL], ids=["stop", "kill"])
def stop(request: pytest.FixtureRequest) -> Callable[[Director], None]:
    """End a daemon, politely or not."""

    def stop(director: Director) -> None:
        assert director.process is not None
        director.process.send_signal(request.param)
        director.process.wait(20)

    return stop


def start(director: Director, *sources: Path) -> None:
    """Start the daemon of the xlvs whose packages are found in *sources*."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, sources)))
        director.start()


@pytest.mark.parametrize("version", ["same", "newer", "other flows"])
def test_upgrade_under_load_fails_no_request(
    own_lab: Lab, newer: Path, other_flows: Path, stop: Callable[[Director], None], version: str
) -> None:
    """Daemon and programs are replaced under load: no failure on kept connections, on new ones, or on idle ones."""
    director = own_lab.director
    with own_lab.connect(4, PEER) as idle:
        idle.sendall(b"ECHO\n")
        say(idle, "before")
        load = [wrk(own_lab, 4), wrk(own_lab, 6, "-H", "Connection: close")]
        until(lambda: director.ask("counters")["flow_opened"] > 50, "no load arrived")
        saved = director.admin("-S", "-n")
        stop(director)
        say(idle, "without")
        start(director, {"newer": newer, "other flows": other_flows}.get(version, ROOT / "src"))
        assert director.admin("-S", "-n") == saved
        say(idle, "after")
        for process in load:
            assert_none_failed(process.communicate()[0])
        say(idle, "long after")


def test_newer_daemon_knows_everything(own_lab: Lab, newer: Path, stop: Callable[[Director], None]) -> None:
    """Services, servers, flows and counters are the same to the last packet in the newer xlvs."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(own_lab.connect(family, PEER)) for family in (4, 6) for _ in range(4)]
        for sock in held:
            sock.sendall(b"ECHO\n")
            say(sock, "before")
        before = settled(own_lab.director)
        stop(own_lab.director)
        start(own_lab.director, newer)
        assert seen(own_lab.director) == before
        for sock in held:
            say(sock, "after")


def dying(directory: Path, module: str, method: str) -> Path:
    """Return what makes a daemon die, as by kill -9, when it comes to *method*: a directory for PYTHONPATH."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(
        f"import os, signal\nfrom {module} import {method.partition('.')[0]}\n"
        f"{method} = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    return directory


@pytest.mark.parametrize(
    ("module", "method", "next_one"),
    [
        ("xlvs.daemon.kernel", "Kernel.renew_hints", "older"),
        ("xlvs.daemon.attach", "Attachments.start", "newer"),
        ("xlvs.daemon.upgrade.handover", "Handover.finish", "other flows"),
    ],
    ids=["before the commit", "after the commit", "while flows are taken over"],
)
def test_a_daemon_can_start_after_one_that_died_on_its_way(
    tmp_path: Path, newer: Path, other_flows: Path, module: str, method: str, next_one: str
) -> None:
    """Killed before the new maps are the pinned ones, an upgrade never was; from then on it can be finished."""
    with Lab("nat", "xdp", tmp_path) as lab, lab.connect(4, PEER) as idle:
        idle.sendall(b"ECHO\n")
        say(idle, "before")
        saved = lab.director.admin("-S", "-n")
        halt(lab.director)
        source = other_flows if next_one == "other flows" else newer
        with pytest.raises(HostError, match="did not start"):
            start(lab.director, dying(tmp_path / "dying", module, method), source)
        say(idle, "between")
        start(lab.director, ROOT / "src" if next_one == "older" else source)
        say(idle, "after")
        assert lab.director.admin("-S", "-n") == saved


def refused(lab: Lab, source: Path, sentence: str) -> None:
    """Check that the daemon of the xlvs at *source* says *sentence*, while load goes on unharmed."""
    load = [wrk(lab, 4), wrk(lab, 6, "-H", "Connection: close")]
    with lab.connect(4, PEER) as idle, pytest.raises(HostError, match=sentence):
        idle.sendall(b"ECHO\n")
        say(idle, "before")
        try:
            start(lab.director, source)
        finally:
            say(idle, "after")
            for process in load:
                assert_none_failed(process.communicate()[0])


def test_the_way_back_is_refused(tmp_path: Path, newer: Path) -> None:
    """An older xlvs says by version why it does not start; traffic goes on, and so does the newer one."""
    with Lab("nat", "xdp", tmp_path) as lab:
        saved = lab.director.admin("-S", "-n")
        halt(lab.director)
        start(lab.director, newer)
        halt(lab.director)
        refused(
            lab, ROOT / "src", "the pinned map servers was made by a newer xlvs .layout 4, this one knows 3.*--purge"
        )
        start(lab.director, newer)
        assert lab.director.admin("-S", "-n") == saved


def test_flows_of_a_newer_layout_are_refused(tmp_path: Path, other_flows: Path) -> None:
    """Back from an xlvs whose flows are of another layout there is no way; traffic goes on, and so does that one."""
    with Lab("nat", "xdp", tmp_path) as lab:
        halt(lab.director)
        start(lab.director, other_flows)
        saved = lab.director.admin("-S", "-n")
        halt(lab.director)
        refused(
            lab, ROOT / "src", "the pinned map flows6 was made by a newer xlvs .layout 2, this one knows 1.*--purge"
        )
        start(lab.director, other_flows)
        assert lab.director.admin("-S", "-n") == saved


def halt(director: Director) -> None:
    """Stop the daemon as an operator does."""
    assert director.process is not None
    director.process.terminate()
    director.process.wait(20)
