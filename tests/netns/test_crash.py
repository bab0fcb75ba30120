"""The daemon dies without a word while traffic flows, and nobody notices but its operator.

client (wrk) ──┐           ┌── real1
               ├─ switch ──┼── real2
director (†) ──┘           └── real3
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.netns.lab import HTTP, PEER, Lab, endpoint
from tests.netns.peer import seal
from xlvs.demo import netns
from xlvs.demo.director import Director, command
from xlvs.demo.servers import stop
from xlvs.demo.wait import until

LOAD_S = 6


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


def seen(director: Director) -> dict[str, Any]:
    """Return what the daemon knows, without what depends on the moment: rates and ages."""
    services = director.ask("services")["services"]
    for service in services:
        for row in (service, *service["servers"]):
            del row["rates"]
    ages = {"expires_s", "idle_s"}
    flows = [{key: value for key, value in row.items() if key not in ages} for row in director.ask("flows")]
    return {
        "services": services,
        "flows": sorted(flows, key=str),
        "saved": director.admin("-S", "-n"),
        "flows opened": director.ask("counters")["flow_opened"],
    }


def settled(director: Director) -> dict[str, Any]:
    """Return what the daemon knows once acknowledgements that were delayed have come."""
    states: list[dict[str, Any]] = [{}]

    def same_again() -> bool:
        states.append(seen(director))
        return states[-1] == states[-2]

    until(same_again, "traffic goes on")
    return states[-1]


def say(sock: socket.socket, word: str) -> None:
    """Have the peer echo a word over an open connection."""
    sock.sendall(f"{word}\n".encode())
    assert sock.recv(100).endswith(f" {word}\n".encode())


def test_kill_under_load_fails_no_request(own_lab: Lab) -> None:
    """kill -9 and a new daemon under load: no failure on kept connections, on new ones, or on idle ones."""
    with own_lab.connect(4, PEER) as idle:
        idle.sendall(b"ECHO\n")
        say(idle, "before")
        load = [wrk(own_lab, 4), wrk(own_lab, 6, "-H", "Connection: close")]
        until(lambda: own_lab.director.ask("counters")["flow_opened"] > 50, "no load arrived")
        saved = own_lab.director.admin("-S", "-n")
        kill(own_lab.director)
        say(idle, "without")
        own_lab.director.start()
        assert own_lab.director.admin("-S", "-n") == saved
        for process in load:
            assert_none_failed(process.communicate()[0])
        say(idle, "after")


def test_next_daemon_knows_everything(own_lab: Lab) -> None:
    """Services, servers, flows and counters are the same to the last packet after kill -9 and a new start."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(own_lab.connect(family, PEER)) for family in (4, 6) for _ in range(4)]
        for sock in held:
            sock.sendall(b"ECHO\n")
            say(sock, "before")
        for family in (4, 6):
            with own_lab.datagram_socket(family, PEER) as datagrams:
                datagrams.send(seal(1, b"before"))
                datagrams.recv(100)
        before = settled(own_lab.director)
        assert len(before["flows"]) == len(held) + 2
        kill(own_lab.director)
        own_lab.director.start()
        assert seen(own_lab.director) == before
        for sock in held:
            say(sock, "after")
        rows = [server for service in own_lab.director.ask("services")["services"] for server in service["servers"]]
        assert (sum(row["active"] for row in rows), sum(row["inactive"] for row in rows)) == (len(held), 2)


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
    with Lab("nat", "tc", tmp_path, started=False) as lab:
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
    with Lab("nat", "tc", tmp_path, started=False) as lab:
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
