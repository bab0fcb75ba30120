"""What the daemon keeps of the health of servers, and the commands that it runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from xlvs.daemon.health import Care, notify
from xlvs.errors import InvalidError
from xlvs.health.checker import Event
from xlvs.model import Address, Health, Notify, Server, ServerHealth, Service, ServiceKey, State

SERVER = Server(Address.parse("10.0.0.1"), 80)
SERVICE = Service(ServiceKey("tcp", Address.parse("192.0.2.1"), 80), servers=(SERVER,), name="web")
STATE = State({SERVICE.key: SERVICE})
DOWN = Event("web", "10.0.0.1:80", "down", "refused")


def care(path: Path) -> Care:
    """Return one that tells nobody."""
    return Care(path, lambda keys: None, lambda event: None, lambda service, server: 0)


def drained(path: Path, *, on: bool = True) -> None:
    """Drain the server, or take that back, and end."""

    async def run() -> None:
        one = care(path)
        one.want(STATE)
        one.drain(SERVICE, SERVER, on=on)

    asyncio.run(run())


def weights(path: Path) -> list[int]:
    """Return the weights that one that starts now puts in force."""
    return [server.weight for server in care(path).judge(SERVICE).servers]


def test_a_drain_is_on_disk(tmp_path: Path) -> None:
    """For the next start, before anything is asked."""
    path = tmp_path / "health.json"
    drained(path)
    assert weights(path) == [0]
    drained(path, on=False)
    assert weights(path) == [1]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"verdicts": 3}', "\0"])
def test_what_cannot_be_read_is_told_and_all_begins_anew(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a disk leaves it that was full."""
    path = tmp_path / "health.json"
    path.write_text(content)
    assert weights(path) == [1]
    assert "cannot be read" in capsys.readouterr().err


def test_a_disk_that_is_full_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is told, and the server is drained all the same."""

    async def run() -> list[int]:
        one = care(tmp_path / "nowhere" / "health.json")
        one.drain(SERVICE, SERVER, on=True)
        return [server.weight for server in one.judge(SERVICE).servers]

    assert asyncio.run(run()) == [0]
    assert "cannot be kept" in capsys.readouterr().err


def script(tmp_path: Path, text: str) -> str:
    """Return a program of the shell."""
    path = tmp_path / "told"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_command_is_told_what_happened(tmp_path: Path) -> None:
    """With its own arguments, and the rest in its environment."""
    out = tmp_path / "out"
    text = script(tmp_path, f'echo "$1 $XLVS_EVENT $XLVS_SERVICE $XLVS_VIP $XLVS_RIP $XLVS_WHY" > {out}')
    asyncio.run(notify.run(f"{text} 'a b'", DOWN, SERVICE, SERVER))
    assert out.read_text() == "a b down web 192.0.2.1 10.0.0.1 refused\n"


def test_a_command_that_fails_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its exit code; so is one that is not there any more."""
    asyncio.run(notify.run(script(tmp_path, "exit 3"), DOWN, SERVICE, SERVER))
    asyncio.run(notify.run("/nowhere/told", DOWN, SERVICE, SERVER))
    told = capsys.readouterr().err
    assert "exit_code=3" in told
    assert "could not be run" in told


def test_a_command_that_hangs_is_ended_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that no run of them fills the machine."""
    monkeypatch.setattr(notify, "LONGEST_S", 0.2)
    child = tmp_path / "child"
    asyncio.run(notify.run(script(tmp_path, f"sleep 3600 & echo $! > {child}; wait"), DOWN, SERVICE, SERVER))
    assert "took too long" in capsys.readouterr().err
    found = Path(f"/proc/{int(child.read_text())}/stat")
    assert not found.exists() or found.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_servers_own_command_comes_first() -> None:
    """Else its service's."""
    own = Server(SERVER.address, 80, health=ServerHealth(notify=Notify(down="/bin/own")))
    service = Service(SERVICE.key, health=Health(notify=Notify(up="/bin/up", down="/bin/down", quorum_up="/bin/q")))
    assert notify.command(DOWN, service, own) == "/bin/own"
    assert notify.command(DOWN, service, SERVER) == "/bin/down"
    assert notify.command(Event("web", "", "quorum up"), service, None) == "/bin/q"
    assert notify.command(Event("web", "x", "draining"), service, SERVER) == ""


@pytest.mark.parametrize("text", ["/nowhere/told x", "'unclosed", " "])
def test_what_cannot_be_run_is_refused(text: str) -> None:
    """When it is configured, not when it is needed."""
    with pytest.raises(InvalidError, match="the command"):
        notify.require(text)
