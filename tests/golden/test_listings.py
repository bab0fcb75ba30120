"""Captured tables with traffic, printed from the same numbers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.golden.conftest import PORTS, Outcome, Run, captures, outcome
from tests.golden.fake import FakeDaemon

SERVICE = re.compile(r"(TCP|UDP|SCTP|FWM) ")

TRAFFIC = captures("09-traffic")


def command(capture: dict[str, Any]) -> str:
    """Return the command line of a *capture*, for the name of its test."""
    return str(capture["cmd"])


def rows(text: str) -> dict[str, list[str]]:
    """Return the columns of a printed table by "VIP:port" or "VIP:port server:port"."""
    found = {}
    service = ""
    for line in text.splitlines():
        words = line.split()
        if SERVICE.match(line):
            service = words[1]
            found[service] = words[2:]
        elif line.startswith("  -> 1"):
            found[f"{service} {words[1]}"] = words[2:]
    return found


def printed(line: str) -> str:
    """Return what IPVS printed for a command *line* of the capture with traffic, the first time it was given."""
    return next(str(c["stdout"]) for c in TRAFFIC if c["cmd"] == line)


def add_flow(daemon: FakeDaemon, line: str) -> None:
    """Give *daemon* the flow that a captured row of ``-c`` shows."""
    _protocol, expires, state, *ends = line.split()
    minutes, seconds = expires.split(":")
    ports = {name: str(number) for number, name in PORTS.items()}
    sides = []
    for end in ends:
        address, port = end.rsplit(":", 1)
        sides.append(f"{address}:{ports.get(port, port)}")
    daemon.flow(state, int(minutes) * 60 + int(seconds), *sides)


@pytest.fixture
def traffic(run: Run, daemon: FakeDaemon) -> FakeDaemon:
    """A daemon with the configuration and the counters of the capture with traffic."""
    assert run("ipvsadm -R", stdin=TRAFFIC[0]["stdin"]) == Outcome(0, "", "")
    views = {"stats": rows(printed("ipvsadm -Ln --stats")), "rates": rows(printed("ipvsadm -Ln --rate"))}
    for view, table in views.items():
        for row, columns in table.items():
            daemon.count(row, view, [int(column) for column in columns])
    for row, columns in rows(printed("ipvsadm -Ln")).items():
        if " " in row:
            daemon.count(row, "load", [int(column) for column in columns[2:4]])
    return daemon


@pytest.mark.parametrize("capture", TRAFFIC[1:5], ids=command)
def test_counters_are_printed_as_ipvs_prints_them(capture: dict[str, Any], run: Run, traffic: FakeDaemon) -> None:
    """Connections, totals, exact totals and rates."""
    assert run(capture["cmd"]) == outcome(capture)


@pytest.mark.parametrize("line", ["ipvsadm -Lnc", "ipvsadm -L -c"])
def test_flows_are_printed_as_ipvs_prints_them(line: str, run: Run, traffic: FakeDaemon) -> None:
    """Each flow with its time left, state and three ends, in the order of the daemon."""
    shown = printed(line).splitlines()[2:]
    assert len(shown) == 36
    for row in shown:
        add_flow(traffic, row)
    assert run(line) == Outcome(0, printed(line), "")


def test_zero_clears_one_service_or_all(run: Run, traffic: FakeDaemon) -> None:
    """``-Z`` with a service clears its counters and those of its servers, without one those of all."""
    for capture in TRAFFIC[7:]:
        assert run(capture["cmd"]) == outcome(capture)
