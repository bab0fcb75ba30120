"""Health checks by a real daemon: servers that do not answer get no traffic, and come back."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.lab import HTTP, PEER, TRANSLATED, Lab
from tests.netns.test_crash import kill
from xlvs.cli.client import Client, socket_path
from xlvs.demo import servers, topology
from xlvs.demo.director import command
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until
from xlvs.errors import XlvsError

CHECK = {"type": "http", "interval": "200ms", "timeout": "200ms", "rise": 2, "fall": 2}
LISTEN = {"protocol": "tcp", "address": VIP[4], "port": HTTP}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A network with three web servers behind nat."""
    with Lab("nat", "tc", tmp_path) as lab:
        lab.director.admin("-C")
        yield lab


def serve(lab: Lab, health: dict[str, Any] | None = None, **more: Any) -> None:
    """Put the service in force, or change it."""
    with Client(socket_path(lab.director.instance)) as client:
        own = [{"address": a, "port": TRANSLATED[HTTP], "forward": "nat"} for a in topology.server_addresses(4)]
        body = {"listen": LISTEN, "scheduler": "rr", "servers": own, "health": health or {"checks": [CHECK]}, **more}
        client.put(f"/v1/services/tcp:{VIP[4]}:{HTTP}", body)


def states(lab: Lab) -> list[str]:
    """Return the states of the three servers."""
    with Client(socket_path(lab.director.instance)) as client:
        return [row["state"] for row in client.get("/v1/health")]


def wait(lab: Lab, *wanted: str) -> None:
    """Return once the servers have these states."""
    until(lambda: states(lab) == list(wanted), f"the servers are not {wanted}")


def names(lab: Lab, requests: int = 12) -> Counter[str]:
    """Return how many requests each server answered."""

    def ask() -> Counter[str]:
        found: Counter[str] = Counter()
        for _ in range(requests):
            with urllib.request.urlopen(f"http://{VIP[4]}:{HTTP}/", timeout=5) as answer:
                found[answer.read().decode().strip()] += 1
        return found

    return lab.in_client(ask)


def xlvs(lab: Lab, *words: str, code: int = 0) -> str:
    """Run a command of `xlvs`, which must end with *code*, and return what it prints."""
    argv = command("xlvs", *words, "--instance", lab.director.instance)
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stderr
    return done.stdout


def restart(lab: Lab, number: int) -> None:
    """Start a web server again."""
    address = topology.server_addresses(4)[number - 1]
    again = servers.start_nginx(
        lab.topology.servers[number - 1], f"again{number}", address, TRANSLATED[HTTP], lab.directory
    )
    lab.real[number - 1] = again
    lab._made.callback(again.stop)


def test_a_server_that_dies_gets_no_traffic(lab: Lab) -> None:
    """Killed, it is out within its intervals; started, it is back."""
    serve(lab)
    wait(lab, "up", "up", "up")
    assert len(names(lab)) == 3
    lab.real[0].stop()
    wait(lab, "down", "up", "up")
    assert len(names(lab)) == 2
    table = lab.director.admin("-L", "-n")
    assert [line.split()[3] for line in table.splitlines() if "->" in line][1:] == ["0", "1", "1"]
    assert " -w 0" not in lab.director.admin("-S", "-n")
    restart(lab, 1)
    wait(lab, "up", "up", "up")
    assert len(names(lab)) == 3


def test_a_server_that_hangs_gets_no_traffic(lab: Lab) -> None:
    """It accepts connections, and says nothing."""
    serve(lab)
    wait(lab, "up", "up", "up")
    os.killpg(lab.real[1].process.pid, signal.SIGSTOP)
    try:
        wait(lab, "up", "down", "up")
        assert len(names(lab)) == 2
    finally:
        os.killpg(lab.real[1].process.pid, signal.SIGCONT)
    wait(lab, "up", "up", "up")


def test_the_sorry_server_answers_below_the_quorum(lab: Lab) -> None:
    """With one of three up and a quorum of two it stands alone."""
    sorry = {"address": topology.server_addresses(4)[2], "port": TRANSLATED[HTTP], "forward": "nat"}
    with Client(socket_path(lab.director.instance)) as client:
        own = [{"address": a, "port": TRANSLATED[HTTP], "forward": "nat"} for a in topology.server_addresses(4)[:2]]
        body = {"listen": LISTEN, "scheduler": "rr", "servers": own, "sorry_server": sorry}
        client.post("/v1/services", body | {"health": {"checks": [CHECK], "quorum": 2}})
    wait(lab, "up", "up")
    assert len(names(lab)) == 2
    lab.real[0].stop()
    wait(lab, "down", "up")
    assert sum(names(lab).values()) == 12
    assert len(names(lab)) == 1
    restart(lab, 1)
    wait(lab, "up", "up")
    until(lambda: len(names(lab)) == 2, "the servers do not answer again")


def test_states_outlive_the_daemon(lab: Lab) -> None:
    """A daemon that starts again does not try a server that was down, nor drop the others."""
    serve(lab)
    wait(lab, "up", "up", "up")
    lab.real[0].stop()
    wait(lab, "down", "up", "up")
    kill(lab.director)
    assert len(names(lab)) == 2
    lab.director.start()
    for _ in range(5):
        assert len(names(lab)) == 2
    wait(lab, "down", "up", "up")


def test_commands_are_run(lab: Lab, tmp_path: Path) -> None:
    """Each change of a server and of the quorum, with what happened in the environment."""
    told = tmp_path / "told"
    script = tmp_path / "notify"
    script.write_text(f'#!/bin/sh\necho "$1 $XLVS_EVENT $XLVS_RIP" >> {told}\n')
    script.chmod(0o755)
    notify = {name: f"{script} {name}" for name in ("up", "down", "quorum_up", "quorum_down")}
    serve(lab, {"checks": [CHECK], "quorum": 3, "notify": notify})
    wait(lab, "up", "up", "up")
    lab.real[0].stop()
    wait(lab, "down", "up", "up")
    until(lambda: "quorum_down" in told.read_text(), "nobody told of the quorum")
    restart(lab, 1)
    wait(lab, "up", "up", "up")
    until(lambda: "quorum_up" in told.read_text(), "nobody told of the quorum")
    first = topology.server_addresses(4)[0]
    lines = told.read_text().splitlines()
    assert {f"down down {first}", f"up up {first}", "quorum_down quorum down ", "quorum_up quorum up "} <= set(lines)


def test_maintenance_by_file(lab: Lab, tmp_path: Path) -> None:
    """A file drains the server: it keeps what it has and gets nothing new (ldirectord's maintenancedir)."""
    directory = tmp_path / "maintenance"
    directory.mkdir()
    serve(lab, {"checks": [CHECK], "maintenance": str(directory)})
    wait(lab, "up", "up", "up")
    file = directory / topology.server_addresses(4)[1]
    file.touch()
    wait(lab, "up", "drained", "up")
    assert len(names(lab)) == 2
    file.unlink()
    wait(lab, "up", "up", "up")


def test_slow_start(lab: Lab) -> None:
    """A server that comes back gets its weight in steps."""
    with Client(socket_path(lab.director.instance)) as client:
        own = [
            {"address": a, "port": TRANSLATED[HTTP], "forward": "nat", "weight": 100}
            for a in topology.server_addresses(4)
        ]
        health = {"checks": [CHECK | {"rise": 1}], "slow_start": 3.0}
        client.post("/v1/services", {"listen": LISTEN, "scheduler": "wrr", "servers": own, "health": health})
        until(lambda: [row["weight"] for row in client.get("/v1/health")] == [100] * 3, "no whole weight")
        lab.real[0].stop()
        until(lambda: client.get("/v1/health")[0]["weight"] == 0, "the server is not out")
        restart(lab, 1)
        seen: list[int] = []
        deadline = time.monotonic() + 60
        while (not seen or seen[-1] < 100) and time.monotonic() < deadline:
            weight = client.get("/v1/health")[0]["weight"]
            if not seen or seen[-1] != weight:
                seen.append(weight)
    assert seen == sorted(seen)
    assert seen[-1] == 100
    assert len(set(seen)) >= 4


def test_a_wrong_check_is_refused(lab: Lab) -> None:
    """One sentence, and what is in force stays."""
    serve(lab)
    wait(lab, "up", "up", "up")
    with Client(socket_path(lab.director.instance)) as client:
        before = client.get(f"/v1/services/tcp:{VIP[4]}:{HTTP}", {"counters": "false"})
        with pytest.raises(XlvsError, match="no health check 'htp' .did you mean 'http'"):
            serve(lab, {"checks": [{"type": "htp"}]})
        with pytest.raises(XlvsError, match="the command '/nowhere/told' cannot be run"):
            serve(lab, {"checks": [CHECK], "notify": {"down": "/nowhere/told"}})
        assert client.get(f"/v1/services/tcp:{VIP[4]}:{HTTP}", {"counters": "false"}) == before
    assert states(lab) == ["up", "up", "up"]


def test_drain_waits_for_the_last_connection(lab: Lab) -> None:
    """With and without checks; what the server has goes on, and a daemon that starts again remembers."""
    with Client(socket_path(lab.director.instance)) as client:
        own = [{"address": a, "port": 7001, "forward": "nat"} for a in topology.server_addresses(4)]
        client.post("/v1/services", {"listen": {**LISTEN, "port": PEER}, "scheduler": "rr", "servers": own})
    with lab.connect(4, PEER) as held:
        held.sendall(b"ECHO\none\n")
        assert held.recv(100)
        table = lab.director.admin("-L", "-n", "-c")
        real = next(line.split()[5] for line in table.splitlines() if f":{PEER} " in line)
        over = xlvs(lab, "drain", real, "--timeout", "1s", code=3)
        assert "1 connections left" in over
        kill(lab.director)
        lab.director.start()
        for _ in range(6):
            with lab.connect(4, PEER) as sock:
                sock.sendall(b"ECHO\nwho\n")
                assert sock.recv(100)
        lines = lab.director.admin("-L", "-n", "-c").splitlines()
        assert len({line.split()[5] for line in lines if f":{PEER} " in line} - {real}) == 2
        assert sum(f" {real}" in line for line in lines) == 1
        held.sendall(b"two\n")
        assert held.recv(100)
    done = xlvs(lab, "drain", real, "--wait")
    assert done.endswith("drained\n")
    assert "in service again" in xlvs(lab, "undrain", real)
    until(lambda: lab.director.admin("-L", "-n").count(" 1 ") >= 3, "the server has no weight")
