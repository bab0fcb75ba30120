"""The daemon dies without a word while traffic flows, and nobody notices but its operator.

client (wrk) ──┐           ┌── real1
               ├─ switch ──┼── real2
director (†) ──┘           └── real3
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.conftest import WAYS
from tests.netns.lab import HTTP, PEER, Lab, endpoint
from xlvs.demo import netns
from xlvs.demo.director import Director, command
from xlvs.demo.servers import stop
from xlvs.demo.wait import until

LOAD_S = 6
RATES = "rates"


@pytest.fixture(params=WAYS, ids="-".join)
def own_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Give out a laboratory whose daemon may be killed."""
    forward, hook = request.param
    with Lab(forward, hook, tmp_path) as made:
        yield made


def kill(director: Director) -> None:
    """End the daemon as a crash would."""
    assert director.process is not None
    director.process.kill()
    director.process.wait()
    assert not director.answers()


def wrk(lab: Lab, family: int, *options: str) -> subprocess.Popen[str]:
    """Start a load on the virtual service."""
    url = f"http://{endpoint(family, HTTP)}/"
    argv = ["wrk", "-t1", "-c8", f"-d{LOAD_S}s", "--timeout", "4s", *options, url]
    return netns.popen(lab.topology.client, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def assert_none_failed(said: str) -> None:
    """Check wrk's report: it names errors only if there were any."""
    assert "Socket errors" not in said and "Non-2xx" not in said, said
    done = re.search(r"(\d+) requests in", said)
    assert done and int(done[1]) > 1000, said


def without_rates(listed: dict[str, Any]) -> dict[str, Any]:
    """Return a listing without what depends on the moment."""
    for service in listed["services"]:
        service.pop(RATES)
        for server in service["servers"]:
            server.pop(RATES)
    return listed


def flows(director: Director) -> list[tuple[Any, ...]]:
    """Return every flow without its age."""
    rows = director.ask("flows")
    return sorted((row["protocol"], row["state"], *row["client"], *row["virtual"], *row["server"]) for row in rows)


def test_kill_under_load_fails_no_request_and_loses_no_state(own_lab: Lab) -> None:
    """kill -9 under load, on kept connections and on new ones: no failure; the next daemon sees everything."""
    load = [wrk(own_lab, 4), wrk(own_lab, 6, "-H", "Connection: close")]
    opened = own_lab.director.ask("counters")["flow_opened"]
    until(lambda: own_lab.director.ask("counters")["flow_opened"] > opened + 50, "no load arrived")
    kill(own_lab.director)
    own_lab.director.start()
    for process in load:
        assert_none_failed(process.communicate()[0])

    held = [own_lab.connect(family, PEER) for family in (4, 6) for _ in range(3)]
    for sock in held:
        sock.sendall(b"ECHO\nbefore\n")
        assert sock.recv(100).endswith(b" before\n")
    # Connections that wrk reset leave within seconds; wait until nothing is on its way out.
    until(lambda: all(row[1] != "CLOSE" for row in flows(own_lab.director)), "flows of closed connections stay", 30)
    listed, open_flows = without_rates(own_lab.director.ask("list")), flows(own_lab.director)
    saved = own_lab.director.admin("-S", "-n")

    kill(own_lab.director)
    for sock in held:
        sock.sendall(b"without\n")
        assert sock.recv(100).endswith(b" without\n")
    own_lab.director.start()
    assert own_lab.director.admin("-S", "-n") == saved
    assert flows(own_lab.director) == open_flows
    after = without_rates(own_lab.director.ask("list"))
    for sock in held:
        sock.sendall(b"after\n")
        assert sock.recv(100).endswith(b" after\n")
        sock.close()
    assert counters_not_smaller(listed, after)


def counters_not_smaller(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether *after* has all of *before*, connections as they were and no counter smaller."""
    pairs = zip(before["services"], after["services"], strict=True)
    for old, new in pairs:
        rows = [(old, new), *zip(old["servers"], new["servers"], strict=True)]
        for one, other in rows:
            assert one["address"] == other["address"] and one["port"] == other["port"]
            assert one["stats"]["conns"] == other["stats"]["conns"]
            assert all(other["stats"][key] >= value for key, value in one["stats"].items())
            assert all(one.get(key) == other.get(key) for key in ("active", "inactive"))
    return True


def start_in_netns_exec(lab: Lab) -> subprocess.Popen[str]:
    """Start the daemon as an operator would who is used to `ip netns exec`."""
    options = ("--instance", lab.director.instance, "--interfaces", f"eth0={lab.hook}")
    with lab.director.log.open("a") as log:
        return subprocess.Popen(
            ["ip", "netns", "exec", lab.topology.director, *command("xlvs", "daemon", *options)],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def test_kill_inside_ip_netns_exec_fails_no_request(tmp_path: Path) -> None:
    """With a bpffs mounted beforehand, programs and maps outlive a daemon whose private mounts die with it."""
    with Lab("nat", "tc", tmp_path) as lab:
        lab.director.purge()
        mounted = Path("/run/xlvs") / f"{lab.director.instance}.bpf"
        mounted.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "bpf", "bpf", str(mounted)], check=True)
        lab.director.process = start_in_netns_exec(lab)
        lab.director.wait_ready()
        lab.director.admin("-R", stdin=lab.rules())
        load = wrk(lab, 4, "-H", "Connection: close")
        until(lambda: lab.director.ask("counters")["flow_opened"] > 50, "no load arrived")
        before = lab.director.admin("-S", "-n")
        kill(lab.director)
        lab.director.process = start_in_netns_exec(lab)
        lab.director.wait_ready()
        assert lab.director.admin("-S", "-n") == before
        assert_none_failed(load.communicate()[0])


def test_daemon_refuses_a_mount_that_would_die_with_it(tmp_path: Path) -> None:
    """Inside `ip netns exec` and without a bpffs from before, the daemon says in a sentence what to do."""
    with Lab("nat", "tc", tmp_path) as lab:
        lab.director.purge()
        process = start_in_netns_exec(lab)
        try:
            assert process.wait(20) == 1
        finally:
            stop(process)
        assert "--netns" in lab.director.log.read_text().splitlines()[-1]


def test_stopped_daemon_leaves_traffic_alone_until_purge(tmp_path: Path) -> None:
    """`xlvs stop` ends the daemon and nothing else; with --purge the virtual address answers no more."""
    with Lab("nat", "tc", tmp_path) as lab:
        stopped = command("xlvs", "stop", "--instance", lab.director.instance)
        subprocess.run(stopped, check=True, stdout=sys.stderr)
        with lab.connect(4, PEER) as sock:
            sock.sendall(b"ECHO\nstill\n")
            assert sock.recv(100).endswith(b" still\n")
        lab.director.purge()
        with pytest.raises(ConnectionRefusedError):
            lab.connect(4, PEER)
