"""Captures of a real IPVS, and xlvsadm run against a fake daemon in their place."""

from __future__ import annotations

import io
import json
import shlex
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.golden.fake import FakeDaemon
from xlvs.cli import xlvsadm
from xlvs.daemon.api import problems

DATA = Path(__file__).parent / "data"
PORTS = {80: "http", 443: "https", 53: "domain", 5060: "sip"}
PROGRAMS = {"ipvsadm": xlvsadm.main, "ipvsadm-save": xlvsadm.main_save, "ipvsadm-restore": xlvsadm.main_restore}


class Outcome(NamedTuple):
    """What one command printed and returned."""

    rc: int
    stdout: str
    stderr: str


Run = Callable[..., Outcome]


def captures(name: str) -> list[dict[str, Any]]:
    """Return the captures of the file *name* that a test may expect word for word."""
    found: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text())["captures"]
    return found


def outcome(capture: dict[str, Any]) -> Outcome:
    """Return what IPVS did in this *capture*."""
    return Outcome(capture["rc"], capture["stdout"], capture["stderr"])


def runner(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs a command line of ipvsadm, ipvsadm-save or ipvsadm-restore through xlvsadm."""

    def call(line: str, stdin: str = "") -> Outcome:
        program, *words = shlex.split(line)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        status = PROGRAMS[program](words)
        return Outcome(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDaemon]:
    """A fake daemon for all tests, since one that starts and stops takes longer than any of them."""
    with FakeDaemon(tmp_path_factory.mktemp("run") / "default.sock") as fake:
        yield fake


@pytest.fixture
def daemon(running: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> FakeDaemon:
    """A fake daemon that has nothing yet, where xlvsadm looks for one."""
    monkeypatch.setenv("XLVS_RUN_DIR", str(running.path.parent))
    monkeypatch.delenv("XLVS_INSTANCE", raising=False)
    # The daemon's log would go to the same stderr as what is expected of the command.
    monkeypatch.setattr(problems, "log", lambda *_event, **_fields: None)
    running.reset()
    return running


@pytest.fixture
def lab_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of the lab the captures come from: a few ports and no hosts."""

    def nobody(*_question: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def by_port(port: int, _protocol: str) -> str:
        if port not in PORTS:
            raise OSError("port/proto not found")
        return PORTS[port]

    def by_name(name: str, _protocol: str) -> int:
        raise OSError("service/proto not found")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    monkeypatch.setattr(socket, "gethostbyaddr", nobody)
    monkeypatch.setattr(socket, "getservbyport", by_port)
    monkeypatch.setattr(socket, "getservbyname", by_name)


@pytest.fixture
def run(
    daemon: FakeDaemon, lab_names: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a command line of ipvsadm, ipvsadm-save or ipvsadm-restore through xlvsadm."""
    return runner(capsys, monkeypatch)
