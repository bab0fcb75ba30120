"""The demonstration keeps its promise in every combination.

client ──┐           ┌── real1 (nginx, or the datagram service)
         ├─ switch ──┼── real2
director ┘           └── real3
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from xlvs.demo import topology
from xlvs.demo.wait import until

REQUESTS = 600


def demo(*arguments: str) -> subprocess.Popen[str]:
    """Start the demonstration."""
    return subprocess.Popen(
        [sys.executable, "-m", "xlvs.demo", *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcome(*arguments: str) -> dict[str, Any]:
    """Run the demonstration to its end and return its JSON object."""
    process = demo("--json", "--requests", str(REQUESTS), *arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err + out
    (line,) = out.splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def left_behind(pid: int) -> list[str]:
    """Return what a demonstration with this process id left on the machine."""
    places = ("/run/netns", "/run/xlvs", "/var/lib/xlvs", "/tmp")
    names = [path for place in places if Path(place).is_dir() for path in Path(place).iterdir()]
    return [str(path) for path in names if path.name.startswith((f"xlvs-{pid}-", f"demo-{pid}"))]


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("hook", ["xdp", "tc"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("forward", ["nat", "route", "ipip"])
def test_every_request_is_answered_and_round_robin_is_even(forward: str, family: int, hook: str, protocol: str) -> None:
    """Each forwarding method, family, hook and protocol: no error, exact thirds, by the hook that was asked for."""
    result = outcome(
        "--forward", forward, "--family", str(family), "--hook", hook, "--protocol", protocol, "--scheduler", "rr"
    )
    assert result.pop("p50_ms") <= result.pop("p99_ms")
    assert result == {
        "forward": forward,
        "family": family,
        "protocol": protocol,
        "scheduler": "rr",
        "hook": hook,
        "requests": REQUESTS,
        "errors": 0,
        "per_server": dict.fromkeys(topology.server_addresses(family), REQUESTS // 3),
    }


@pytest.mark.parametrize("scheduler", ["wrr", "lc", "wlc"])
def test_equal_servers_get_about_the_same(scheduler: str) -> None:
    """With equal weights wrr is exact; least-connection gives a server that is slow less, but not nothing."""
    counts = outcome("--scheduler", scheduler)["per_server"].values()
    assert sum(counts) == REQUESTS
    assert min(counts) >= (REQUESTS // 3 if scheduler == "wrr" else REQUESTS // 10)


@pytest.mark.parametrize("scheduler", ["sh", "mh"])
def test_hashing_gives_each_client_address_one_server(scheduler: str) -> None:
    """The client's addresses ask in turn, so every server has a whole multiple of one address's requests."""
    per_client, left = divmod(REQUESTS - REQUESTS % topology.CLIENTS, topology.CLIENTS)
    assert left == 0
    result = outcome("--scheduler", scheduler, "--requests", str(per_client * topology.CLIENTS))
    counts = list(result["per_server"].values())
    assert [count % per_client for count in counts] == [0, 0, 0]
    assert sum(count > 0 for count in counts) >= 2


def test_interrupted_demo_leaves_nothing_behind() -> None:
    """Ctrl-C in the middle of the requests: everything goes away, and the exit code says so."""
    process = demo("--requests", "1000000")
    assert process.stderr is not None
    for line in process.stderr:
        if "each a new flow" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert left_behind(process.pid) == []


def test_refused_scheduler_leaves_nothing_behind() -> None:
    """What xlvsadm refuses ends the demo with its sentence, and everything goes away."""
    process = demo("--scheduler", "nonesuch")
    _, err = process.communicate()
    assert process.returncode == 1
    assert "nonesuch" in err.splitlines()[-1]
    assert left_behind(process.pid) == []


def test_kept_demo_stands_until_the_printed_commands_remove_it() -> None:
    """`--keep` leaves namespaces, daemon and servers, and what it prints to remove them removes them."""
    process = demo("--keep", "--requests", "30", "--json")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert json.loads(out)["errors"] == 0
    assert left_behind(process.pid) != []
    instructions = err[err.index("to remove it:") :].splitlines()[1:3]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-ec", "\n".join(instructions)], check=True, env=environment)
    until(lambda: left_behind(process.pid) == [], "the kept demonstration is still there")
