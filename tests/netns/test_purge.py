"""`xlvs stop --purge` takes everything back.

director ── switch        (real servers are not needed: nothing is sent)
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.netns.lab import Lab
from xlvs.demo import netns


def sysctls() -> dict[str, str]:
    """Return the settings of every interface of the caller's network namespace, and forwarding."""
    files = [path for family in ("ipv4", "ipv6") for path in Path(f"/proc/sys/net/{family}/conf").glob("*/*")]
    # Stable secrets cannot be read before they are set.
    return {str(path): path.read_text() for path in files if path.name != "stable_secret"}


def state(lab: Lab) -> dict[str, object]:
    """Return what the daemon may have changed in the director's namespace and left in the file system."""

    def shown(*argv: str) -> str:
        return netns.popen(lab.topology.director, argv, stdout=subprocess.PIPE).communicate()[0]

    places = [Path("/run/xlvs"), Path("/var/lib/xlvs")]
    return {
        "sysctls": netns.inside(lab.topology.director, sysctls),
        "links": shown("ip", "-details", "link"),
        "addresses": shown("ip", "address"),
        "rules": shown("ip", "rule") + shown("ip", "route", "show", "table", "all"),
        "qdiscs": shown("tc", "qdisc", "show"),
        "files": [path.name for place in places if place.is_dir() for path in place.glob(f"{lab.director.instance}*")],
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if lab.director.instance in line],
    }


@pytest.mark.parametrize("hook", ["tc", "xdp"])
@pytest.mark.parametrize("forward", ["nat", "ipip"])
def test_purge_leaves_the_machine_as_it_was(tmp_path: Path, forward: str, hook: str) -> None:
    """Programs, pins, mounts, files, sysctls: all as before the daemon was started."""
    with Lab(forward, hook, tmp_path, started=False) as lab:
        before = state(lab)
        assert (before["files"], before["mounts"]) == ([], [])
        lab.director.start()
        lab.director.admin("-R", stdin=lab.rules())
        assert state(lab) != before
        lab.director.purge()
        assert state(lab) == before
