"""Changes under load and under kill -9, and that it does not matter by which door a change comes in.

client (wrk) ──┐           ┌── real1
               ├─ switch ──┼── real2
director ──────┘           └── real3
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.netns.lab import HTTP, VIP, Lab
from tests.netns.test_crash import assert_none_failed, wrk
from tests.unit.plan.fake import FakeMaps
from xlvs.cli.client import Client, socket_path
from xlvs.daemon.paths import Paths
from xlvs.dataplane import Map, bpffs, syscalls
from xlvs.dataplane import _abi as abi
from xlvs.demo import netns
from xlvs.demo.director import Director, command, finished
from xlvs.demo.wait import until
from xlvs.errors import UnreachableError
from xlvs.plan import records as r

U32 = np.dtype("<u4")
MAPS = {
    "services": (abi.SERVICE_KEY, abi.VERSIONS),
    "servers": (U32, abi.SERVER),
    "slots": (U32, abi.BLOCK),
    "sched_state": (U32, abi.SCHED_STATE),
    "addrs": (abi.ADDR, U32),
    "nat_servers": (abi.SERVICE_KEY, U32),
    "epoch": (U32, U32),
}
"""What user space writes, with the layout of keys and values."""

RULES = "\n".join(
    [
        "-A -t 192.0.2.1:80 -s wrr",
        *(f"-a -t 192.0.2.1:80 -r 10.0.0.{host}:8080 -m -w {host}" for host in (1, 2, 3)),
        "-A -u 192.0.2.1:53 -s rr",
        "-a -u 192.0.2.1:53 -r 10.0.0.1:53 -i",
        "",
    ]
)


@contextlib.contextmanager
def pinned(instance: str) -> Iterator[dict[str, Map]]:
    """Give out the maps of an instance, whether it has a daemon or not."""
    directory = Paths.of(instance).maps
    found = {}
    for name, layout in MAPS.items():
        found[name] = Map(name, syscalls.obj_get(directory / bpffs.pin_name(name)), *layout)
    try:
        yield found
    finally:
        for one in found.values():
            one.close()


def content(instance: str) -> dict[str, bytes]:
    """Return the bytes of every map, those of hashes in the order of their keys."""
    with pinned(instance) as maps:
        found = {}
        for name, one in maps.items():
            keys, values = one.items()
            packed = zip(r.as_bytes(keys), r.as_bytes(values), strict=True)
            found[name] = b"".join(key + value for key, value in sorted(packed))
        return found


def in_force(instance: str) -> dict[str, object]:
    """Return what packets find: scheduler and servers of every service, as the maps and the epoch say."""
    with pinned(instance) as maps:
        fake = FakeMaps()
        for name in ("servers", "slots", "sched_state"):
            fake.arrays[name] = maps[name].read()
        for name in fake.hashes:
            keys, values = maps[name].items()
            fake.hashes[name] = dict(zip(r.as_bytes(keys), values, strict=True))
        fake.now = int(maps["epoch"].get(0))
        fake.check()
        return {str(key): value for key, value in fake.in_force().items()}


@pytest.fixture
def director(tmp_path: Path) -> Iterator[Director]:
    """Give out a director in a network namespace with one interface, not yet started."""
    made = alone(tmp_path, "a")
    try:
        yield made
    finally:
        end(made)


def alone(directory: Path, suffix: str) -> Director:
    """Return a director in a namespace of its own that looks like every other such."""
    name = f"xlvs-tx-{os.getpid()}-{suffix}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    lines = "link set lo up\nlink add front type veth peer name far\nlink set front up\nlink set far up\n"
    lines += "address add 10.0.0.254/24 dev front\naddress add 192.0.2.1/32 dev front\n"
    subprocess.run(["ip", "-n", name, "-batch", "-"], input=lines, text=True, check=True)
    return Director(name, name, directory / f"{suffix}.log")


def end(director: Director) -> None:
    """Remove every trace of it."""
    try:
        director.purge()
    finally:
        subprocess.run(["ip", "netns", "delete", director.namespace], check=True)


CHANGE = {
    "services": [
        {
            "listen": {"protocol": "tcp", "address": "192.0.2.1", "port": 80},
            "scheduler": "wrr",
            "servers": [
                {"address": "10.0.0.1", "port": 8080, "forward": "nat", "weight": 1},
                {"address": "10.0.0.3", "port": 8080, "forward": "route", "weight": 9},
                {"address": "10.0.0.4", "port": 8080, "forward": "nat", "weight": 4},
            ],
        },
        {
            "listen": {"protocol": "tcp", "address": "192.0.2.1", "port": 443},
            "scheduler": "lc",
            "servers": [{"address": "10.0.0.5", "port": 443, "forward": "nat", "weight": 2}],
        },
    ]
}
"""A service changes in every way a service can, another comes, the third goes."""


@pytest.mark.parametrize("number", range(1, 16))
def test_a_daemon_killed_at_any_write_leaves_the_old_or_the_new(
    director: Director, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """What packets find without a daemon is all of the change or nothing; the next start goes on from there."""
    generation = 2  # the rules are the first change
    monkeypatch.setenv("XLVS_FAULT", f"{generation}:{number}")
    director.start()
    director.admin("-R", "--atomic", stdin=RULES)
    before, old = in_force(director.instance), director.admin("-S", "-n")
    died = False
    with Client(socket_path(director.instance), owner="cli") as client:
        try:
            client.put("/v1/config", json.dumps(CHANGE).encode())
        except UnreachableError:
            died = True
    if not died:
        assert number > 12, "the change has more writes than were tried"
        return
    assert director.process and director.process.wait() == -9
    left = in_force(director.instance)
    monkeypatch.delenv("XLVS_FAULT")
    director.start()
    after, saved = in_force(director.instance), director.admin("-S", "-n")
    if saved == old:
        assert left == before == after
    else:
        assert after != before
        assert left in (before, after)
    said = director.log.read_text()
    if left != after:
        assert f"an interrupted change was on disk already and is put in force now: generation={generation}" in said
    assert director.ask("status")["generation"] == generation - (saved == old)


def test_every_door_leaves_the_same_bytes(tmp_path: Path) -> None:
    """The same change by xlvsadm, by `xlvs apply` and by the API: every map that user space writes is the same."""
    file = tmp_path / "xlvs.yaml"
    rules = {"forward": "nat", "scheduler": "wrr"}
    weights = {1: 1, 2: 7, 3: 3}
    servers = [{"address": f"10.0.0.{host}", "port": 8080, "weight": weights[host]} for host in weights]
    listen = {"protocol": "tcp", "address": "192.0.2.1", "port": 80}
    dns = {
        "listen": {"protocol": "udp", "address": "192.0.2.1", "port": 53},
        "scheduler": "rr",
        "servers": [{"address": "10.0.0.1", "port": 53, "forward": "ipip"}],
    }
    file.write_text(json.dumps({"defaults": rules, "services": [{"listen": listen, "servers": servers}, dns]}))

    def by_admin(director: Director) -> None:
        director.admin("-e", "-t", "192.0.2.1:80", "-r", "10.0.0.2:8080", "-m", "-w", "7")

    def by_file(director: Director) -> None:
        words = ("apply", "--instance", director.instance, "--take-over", str(file))
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        finished(subprocess.Popen(command("xlvs", *words), text=True, **pipes), "xlvs apply")  # type: ignore[call-overload]

    def by_api(director: Director) -> None:
        with Client(socket_path(director.instance)) as client:
            client.patch("/v1/services/tcp:192.0.2.1:80/servers/10.0.0.2:8080", {"weight": 7})

    found = {}
    doors: dict[str, Callable[[Director], None]] = {"admin": by_admin, "file": by_file, "api": by_api}
    for name, door in doors.items():
        director = alone(tmp_path, name)
        try:
            director.start()
            director.admin("-R", stdin=RULES)
            before = content(director.instance)
            door(director)
            found[name] = content(director.instance)
            assert found[name] != before
        finally:
            end(director)
    assert found["admin"] == found["file"] == found["api"]


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_a_thousand_changes_under_load_fail_no_request(tmp_path: Path, hook: str) -> None:
    """A hundred changes a second for ten seconds, of weights, schedulers and services: 0 failed requests."""
    with Lab("nat", hook, tmp_path) as lab:
        load = [wrk(lab, 4, "-d12s"), wrk(lab, 6, "-d12s", "-H", "Connection: close")]
        until(lambda: lab.director.ask("counters")["flow_opened"] > 50, "no load arrived")
        with Client(socket_path(lab.director.instance), owner="cli") as client:
            began = time.monotonic()
            for turn in range(1000):
                one_change(client, turn)
                time.sleep(max(0.0, began + turn / 100 - time.monotonic()))
            took = time.monotonic() - began
        for process in load:
            assert_none_failed(process.communicate()[0])
        assert lab.director.ask("status")["generation"] > 900, f"{took:.0f} s"


def one_change(client: Client, turn: int) -> None:
    """Make a change that leaves every service with servers."""
    web = f"/v1/services/tcp:{VIP[4]}:{HTTP}" if turn % 2 else f"/v1/services/tcp:[{VIP[6]}]:{HTTP}"
    if turn % 5 == 0:
        client.patch(web, {"scheduler": ("rr", "wlc", "mh", "wrr", "sh")[turn // 5 % 5]})
    elif turn % 5 in (1, 2):  # a file that is applied with a service, and without
        listen = {"protocol": "tcp", "address": VIP[4], "port": 7777}
        server = {"address": "10.0.9.9", "port": 7, "forward": "nat"}
        services = [{"listen": listen, "servers": [server]}] if turn % 5 == 1 else []
        found = client.put("/v1/config", {"services": services}, {"owner": "config:/a/file"})
        assert len(found["differences"]) == 1
    else:
        server = client.get(web)["servers"][turn % 3]
        name = f"[{server['address']}]" if ":" in server["address"] else server["address"]
        client.patch(f"{web}/servers/{name}:{server['port']}", {"weight": 1 + turn % 7})


@pytest.mark.parametrize("hook", ["tc", "xdp"])
def test_interfaces_that_come_and_go_fail_no_request(tmp_path: Path, hook: str) -> None:
    """An interface added to the director and taken away, twenty times, is not noticed by the traffic of others."""
    with Lab("nat", hook, tmp_path) as lab:
        load = [wrk(lab, 4), wrk(lab, 6, "-H", "Connection: close")]
        until(lambda: lab.director.ask("counters")["flow_opened"] > 50, "no load arrived")
        for turn in range(20):
            name = f"extra{turn}"

            def names() -> list[str]:
                return [row["name"] for row in lab.director.ask("interfaces")]

            run = ["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}p"]
            netns.popen(lab.topology.director, run).wait()
            until(lambda: name in names(), "the new interface is noticed")  # noqa: B023 - called at once
            netns.popen(lab.topology.director, ["ip", "link", "delete", name]).wait()
            until(lambda: name not in names(), "the interface that went is noticed")  # noqa: B023
        for process in load:
            assert_none_failed(process.communicate()[0])
