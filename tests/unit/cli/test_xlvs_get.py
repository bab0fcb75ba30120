"""``xlvs get`` and ``describe`` against the real API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.cli.xlvs_command import Xlvs, director, file, running, xlvs
from tests.unit.daemon.api.fake import FakeDirector, Running

__all__ = ["director", "file", "running", "xlvs"]

SERVICES = """\
PROTOCOL  SERVICE            SCHEDULER  SERVERS  CONNS  IN-BYTES  OUT-BYTES  CONNS/S
tcp       192.0.2.10:80      mh               2    120      9000      80000        4
udp       [2001:db8::53]:53  wlc              0      0         0          0        0
"""

WIDE = """\
PROTOCOL  SERVICE            SCHEDULER  SERVERS  CONNS  IN-BYTES  OUT-BYTES  CONNS/S  NAME  OPTIONS  DEVICE  OWNER   \
IN-PKTS  OUT-PKTS  IN-BYTES/S  OUT-BYTES/S
tcp       192.0.2.10:80      mh               2    120      9000      80000        4  web   mh-port  -       config:F\
      600       500         300         2600
udp       [2001:db8::53]:53  wlc              0      0         0          0        0  dns   -        -       config:F\
        0         0           0            0
"""

SERVERS = """\
PROTOCOL  SERVICE        SERVER          FORWARD  WEIGHT  ACTIVE  INACTIVE  CONNS  CONNS/S
tcp       192.0.2.10:80  10.0.0.11:8080  nat           3       7         2     90        3
tcp       192.0.2.10:80  10.0.0.12:8080  route         1       0         0     30        1
"""


@pytest.fixture
def applied(file: Path, xlvs: Xlvs, director: FakeDirector) -> Path:
    """The file in force, with counters."""
    assert xlvs("apply", file)[0] == 0
    engine = director.engine
    engine.kernel.raw["service"][0] = (120, 600, 500, 9000, 80000)
    engine.set_rates("service", 0, [4, 20, 16, 300, 2600])
    engine.kernel.raw["server"][0] = (90, 450, 400, 7000, 60000)
    engine.kernel.raw["server"][1] = (30, 150, 100, 2000, 20000)
    engine.set_rates("server", 0, [3, 15, 12, 200, 2000])
    engine.set_rates("server", 1, [1, 5, 4, 100, 600])
    engine.kernel.load_rows[0] = (7, 2, 0)
    return file


@pytest.mark.parametrize(
    ("words", "table"),
    [
        (["services"], SERVICES),
        (["services", "-o", "wide"], WIDE),
        (["servers"], SERVERS),
        (["servers", "web"], SERVERS),
        (["health"], "SERVICE  SERVER  STATE  WEIGHT  SINCE  WHY\n"),
        (["drops"], "REASON     PACKETS\nno_server        3\n"),
        (["counters"], "COUNTER   VALUE\nflow_new      7\n"),
        (["interfaces"], "INTERFACE  HOOK  WHY\neth0       xdp   physical\n"),
        (["flows"], "PROTOCOL  STATE  EXPIRES  CLIENT  VIRTUAL  SERVER  IN-BYTES  OUT-BYTES\n"),
    ],
)
def test_tables(words: list[str], table: str, applied: Path, xlvs: Xlvs) -> None:
    """Each kind of thing has its columns; warnings go to stderr."""
    status, shown, error = xlvs("get", *words)
    assert status == 0
    assert " ".join(shown.replace(str(applied), "F").split()) == " ".join(table.split())
    if "wide" not in words:
        assert shown == table
    assert error == "warning: forwarding is off\n"


def test_status(xlvs: Xlvs) -> None:
    """What the daemon says of itself, a line each."""
    rows = [line.split() for line in xlvs("get", "status")[1].splitlines()]
    assert ["pid", "4711"] in rows
    assert ["generation", "0"] in rows


def test_json_is_what_the_api_says(applied: Path, xlvs: Xlvs) -> None:
    """For scripts."""
    answer = json.loads(xlvs("get", "services", "-o", "json")[1])
    assert answer["generation"] == 1
    assert [service["name"] for service in answer["services"]] == ["web", "dns"]


def test_yaml_of_services_is_a_file_to_apply(applied: Path, xlvs: Xlvs) -> None:
    """What is printed and applied again changes nothing but the owner."""
    text = xlvs("get", "services", "-o", "yaml")[1]
    applied.write_text(text)
    assert xlvs("plan", applied)[0] == 0
    assert yaml.safe_load(xlvs("get", "servers", "-o", "yaml")[1])["generation"] == 1


def test_a_service_that_is_not_there(xlvs: Xlvs) -> None:
    """One sentence."""
    assert xlvs("get", "services", "none") == (1, "", "xlvs: there is no virtual service 'none'\n")
    assert xlvs("describe", "service", "none") == (1, "", "xlvs: there is no virtual service 'none'\n")


def test_describe_service(applied: Path, xlvs: Xlvs) -> None:
    """Everything about one service, for people."""
    assert (
        xlvs("describe", "service", "web")[1]
        == f"""\
Name:        web
Id:          tcp:192.0.2.10:80
Listens on:  192.0.2.10:80 tcp
Scheduler:   mh
Options:     mh-port
Device:      - (xlvs does not add the address)
Owner:       config:{applied}
Generation:  1

Counters:
               TOTAL  PER SECOND
  connections    120           4
  packets in     600          20
  packets out    500          16
  bytes in      9000         300
  bytes out    80000        2600

Servers:
  SERVER          FORWARD  WEIGHT  ACTIVE  INACTIVE  CONNS  CONNS/S  OWNER
  10.0.0.11:8080  nat           3       7         2     90        3  config:{applied}
  10.0.0.12:8080  route         1       0         0     30        1  config:{applied}

Warnings:
  forwarding is off
"""
    )
    assert "Servers: none; new connections are refused" in xlvs("describe", "service", "udp:[2001:db8::53]:53")[1]


def test_describe_server(applied: Path, xlvs: Xlvs) -> None:
    """A server in each service that has it."""
    shown = xlvs("describe", "server", "10.0.0.11")[1]
    assert shown.splitlines()[:6] == [
        "Server:       10.0.0.11:8080",
        "Service:      web tcp:192.0.2.10:80",
        "Forward:      nat",
        "Weight:       3 of 4",
        "Connections:  7 active, 2 inactive",
        f"Owner:        config:{applied}",
    ]
    assert xlvs("describe", "server", "10.0.0.9") == (
        1,
        "",
        "xlvs: no service has the server 10.0.0.9; write it as 10.0.0.1 or 10.0.0.1:80\n",
    )


class Watching:
    """``xlvs get --watch`` in a process of its own."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "xlvs.cli.main", "get", *words, "--watch", "--interval", "0.05"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))

    def __enter__(self) -> Iterator[list[str]]:
        assert self._process.stdout is not None
        return (line.split() for line in self._process.stdout)

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait()


def test_watch_prints_services_as_they_change(applied: Path, xlvs: Xlvs) -> None:
    """First what there is, then a line per change."""
    with Watching("services") as lines:
        assert next(lines)[0] == "EVENT"
        assert [next(lines)[:3] for _ in range(2)] == [
            ["-", "tcp", "192.0.2.10:80"],
            ["-", "udp", "[2001:db8::53]:53"],
        ]
        applied.write_text(applied.read_text().replace("scheduler: mh", "scheduler: rr").replace("mh-port", "flag-2"))
        xlvs("apply", applied)
        assert next(lines)[:4] == ["changed", "tcp", "192.0.2.10:80", "rr"]
        xlvs("delete", "service", "web", "--force")
        assert next(lines) == ["removed", "tcp", "192.0.2.10:80"]


def test_watch_prints_servers_as_they_change(applied: Path, xlvs: Xlvs) -> None:
    """Only the servers that change, only of the services asked for."""
    with Watching("servers", "web") as lines:
        assert [next(lines)[0] for _ in range(3)] == ["EVENT", "-", "-"]
        applied.write_text(applied.read_text().replace("weight: 3", "weight: 5").replace("10.0.0.12", "10.0.0.13"))
        xlvs("apply", applied)
        assert [next(lines)[:6] for _ in range(3)] == [
            ["changed", "tcp", "192.0.2.10:80", "10.0.0.11:8080", "nat", "5"],
            ["removed", "tcp", "192.0.2.10:80", "10.0.0.12:8080"],
            ["added", "tcp", "192.0.2.10:80", "10.0.0.13:8080", "route", "1"],
        ]


def test_watch_as_json_is_an_object_a_line(applied: Path, xlvs: Xlvs) -> None:
    """The list first, then the events of the API."""
    with Watching("services", "-o", "json") as lines:
        assert json.loads(" ".join(next(lines)))["generation"] == 1
        xlvs("delete", "service", "dns", "--force")
        change = json.loads(" ".join(next(lines)))
        assert (change["generation"], change["owner"]) == (2, "cli")


def test_watch_prints_counters_that_move(applied: Path, xlvs: Xlvs, director: FakeDirector) -> None:
    """What is counted is looked at again, and only rows that are different are printed."""
    with Watching("status") as lines:
        assert next(lines) == ["ITEM", "VALUE"]
        while next(lines)[0] != "max_flows6":
            pass
        xlvs("delete", "service", "dns", "--force")
        assert next(lines) == ["generation", "2"]


@pytest.mark.parametrize("what", ["services", "flows", "counters"])
def test_what_is_watched_is_no_yaml(what: str, xlvs: Xlvs) -> None:
    """Which has no lines; the sentence says what there is."""
    said = "xlvs: what is watched can be a table or JSON, one object a line; YAML has no lines\n"
    assert xlvs("get", what, "--watch", "-o", "yaml") == (1, "", said)


def test_watch_ends_with_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence, with exit code 1."""
    monkeypatch.setenv("XLVS_RUN_DIR", str(tmp_path))
    with Running(tmp_path / "default.sock", FakeDirector()):
        command = [sys.executable, "-m", "xlvs.cli.main", "get", "services", "--watch"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("EVENT")
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (1, "xlvs: the daemon has ended, and the watch with it\n")
