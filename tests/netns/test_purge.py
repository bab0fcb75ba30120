"""`xlvs stop --purge` takes everything back, also what a daemon or a purge left that was killed.

director ── switch        (real servers are not needed: nothing is sent)
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.netns.lab import Lab
from tests.netns.test_crash import kill
from tests.netns.test_transactions import alone, end
from xlvs.cli.client import Client, socket_path
from xlvs.dataplane import bpffs
from xlvs.demo import netns
from xlvs.demo.director import Director
from xlvs.demo.wait import until
from xlvs.errors import HostError

SERVICES = [
    {
        "listen": {"protocol": "tcp", "address": "192.0.2.9", "port": 80},
        "device": "front",
        "servers": [
            {"address": "10.0.0.1", "port": 80, "forward": "gue", "tunnel_port": 6080, "tunnel_checksum": "full"}
        ],
    },
    {"listen": {"protocol": "fwm", "mark": 7}, "servers": [{"address": "10.0.0.1", "port": 0}]},
]
"""For what they need xlvs makes devices, Netfilter rules, neighbours, a route and an address."""


def sysctls() -> dict[str, str]:
    """Return the settings of every interface of the caller's network namespace, and forwarding."""
    files = [path for family in ("ipv4", "ipv6") for path in Path(f"/proc/sys/net/{family}/conf").glob("*/*")]
    # Stable secrets cannot be read before they are set.
    return {str(path): path.read_text() for path in files if path.name != "stable_secret"}


def state(director: Director) -> dict[str, object]:
    """Return what the daemon may have changed in the director's namespace and left in the file system."""

    def shown(*argv: str) -> str:
        return netns.popen(director.namespace, argv, stdout=subprocess.PIPE).communicate()[0]

    places = [Path("/run/xlvs"), Path("/var/lib/xlvs")]
    return {
        "sysctls": netns.inside(director.namespace, sysctls),
        "links": shown("ip", "-details", "link"),
        "addresses": shown("ip", "address"),
        "rules": shown("ip", "rule") + shown("ip", "route", "show", "table", "all"),
        "neighbours": shown("ip", "neighbour", "show", "nud", "permanent"),
        "qdiscs": shown("tc", "qdisc", "show"),
        "netfilter": shown("nft", "list", "ruleset"),
        "files": [path.name for place in places if place.is_dir() for path in place.glob(f"{director.instance}*")],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if director.instance in line],
    }


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("forward", ["nat", "ipip"])
def test_purge_leaves_the_machine_as_it_was(tmp_path: Path, forward: str, hook: str) -> None:
    """Programs, pins, mounts, files, sysctls: all as before the daemon was started."""
    with Lab(forward, hook, tmp_path, started=False) as lab:
        before = state(lab.director)
        assert (before["files"], before["mounts"]) == ([], [])
        lab.director.start()
        lab.director.admin("-R", stdin=lab.rules())
        assert state(lab.director) != before
        lab.director.purge()
        assert state(lab.director) == before


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--netns", "nowhere", "there is no network namespace nowhere (/run/netns/nowhere: No such file or directory)"),
        ("--config", "/nowhere.yaml", "cannot read /nowhere.yaml: No such file or directory"),
        ("--interfaces", "front=xpd", "interface choice 'front=xpd': say NAME=HOOK or HOOK, where HOOK is"),
        ("--flows", "0", "--flows 0 is outside 1..67108864"),
    ],
)
def test_a_daemon_that_cannot_begin_leaves_nothing(tmp_path: Path, option: str, value: str, sentence: str) -> None:
    """A word is wrong at the first start: one sentence, and all is as if it had not been called."""
    director = alone(tmp_path, "typo")
    try:
        until(lambda: "tentative" not in str(state(director)["addresses"]), "addresses are not in use")
        before = state(director)
        director.options = [option, value]
        with pytest.raises(HostError, match=re.escape(f"the daemon did not start: xlvs: {sentence}")):
            director.start()
        assert state(director) == before
    finally:
        end(director)


def test_a_start_with_a_wrong_word_keeps_what_was_in_force(tmp_path: Path) -> None:
    """Services kept on disk, as after a boot, are still there for the next start."""
    director = alone(tmp_path, "kept")
    try:
        director.start()
        director.admin("-A", "-t", "192.0.2.1:80")
        kill(director)
        bpffs.purge(Path("/run/xlvs") / f"{director.instance}.bpf")
        director.options = ["--netns", "nowhere"]
        with pytest.raises(HostError, match="no network namespace nowhere"):
            director.start()
        director.options = []
        director.start()
        assert director.admin("-S", "-n") == "-A -t 192.0.2.1:80 -s wlc\n"
    finally:
        end(director)


@pytest.mark.parametrize("cut_short", [False, True], ids=["daemon", "purge"])
@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
def test_what_was_killed_leaves_nothing_behind_a_purge(tmp_path: Path, cut_short: bool, restarted: bool) -> None:
    """A daemon that was killed, and then a purge once it had unmounted the pins: the next purge finds the rest."""
    director = alone(tmp_path, "purge")
    try:
        until(lambda: "tentative" not in str(state(director)["addresses"]), "addresses are not in use")
        before = state(director)
        director.start()
        with Client(socket_path(director.instance)) as client:
            for service in SERVICES:
                client.post("/v1/services", service)
        made = state(director)
        assert [what for what in before if what != "sysctls" and made[what] == before[what]] == []
        kill(director)
        if restarted:
            director.start()
            kill(director)
        if cut_short:
            bpffs.purge(Path("/run/xlvs") / f"{director.instance}.bpf")
        director.purge()
        assert state(director) == before
    finally:
        end(director)


def test_the_program_for_the_hosts_answers_goes_with_their_need(tmp_path: Path) -> None:
    """It is there while the director is a real server behind nat itself, and outlives a kill no longer than that."""
    director = alone(tmp_path, "answers")
    links = Path("/run/xlvs") / f"{director.instance}.bpf" / "links"

    def answers() -> list[str]:
        return [path.name for path in links.iterdir() if path.name.endswith("-out")]

    try:
        director.start()
        director.admin("-A", "-t", "192.0.2.1:80")
        assert answers() == []
        director.admin("-a", "-t", "192.0.2.1:80", "-r", "10.0.0.254:8080", "-m")
        until(lambda: sorted(answers()) == ["far-out", "front-out"], "the program is not there")
        kill(director)
        assert sorted(answers()) == ["far-out", "front-out"]
        director.start()
        assert sorted(answers()) == ["far-out", "front-out"]
        director.admin("-d", "-t", "192.0.2.1:80", "-r", "10.0.0.254:8080")
        until(lambda: answers() == [], "the program is still there")
    finally:
        end(director)
