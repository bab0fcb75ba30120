"""A daemon with a configuration file: what it keeps in force at its start, on SIGHUP, and when the file is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.test_transactions import alone, end
from xlvs.demo.director import Director, command, finished
from xlvs.demo.wait import until
from xlvs.errors import HostError

GOOD = """\
interfaces: {front: tc, far: none}
defaults: {scheduler: rr, forward: nat}
services:
  - name: web
    listen: {address: 192.0.2.7, port: 80, protocol: tcp}
    address: {device: front}
    servers:
      - {address: 10.0.0.11, port: 8080}
"""
MORE = GOOD + "      - {address: 10.0.0.12, port: 8080, weight: 3}\n"
WRONG = GOOD.replace("port: 80,", "prot: 80,")


@pytest.fixture
def director(tmp_path: Path) -> Iterator[Director]:
    """Give out a director with a file, not yet started."""
    made = alone(tmp_path, "file")
    made.options = ("--config", str(tmp_path / "xlvs.yaml"))
    try:
        yield made
    finally:
        end(made)


def write(director: Director, text: str) -> Path:
    """Write the director's file."""
    file = Path(director.options[1])
    file.write_text(text)
    return file


def hang_up(director: Director) -> None:
    """Have the file read again, as `systemctl reload` does."""
    assert director.process
    os.kill(director.process.pid, signal.SIGHUP)


def addresses(director: Director) -> str:
    """Return the addresses of the interface that the file names."""
    return subprocess.run(
        ["ip", "-n", director.namespace, "-brief", "address", "show", "dev", "front"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_the_file_is_in_force_after_the_start_and_after_a_reload(director: Director) -> None:
    """Services, interfaces and the virtual address are as the file says; what xlvsadm made stays at a reload."""
    file = write(director, GOOD)
    director.start()
    assert "192.0.2.7/32" in addresses(director)
    assert {row["name"]: row["hook"] for row in director.ask("interfaces")} == {"far": "none", "front": "tc"}
    (service,) = director.ask("services")["services"]
    assert (service["name"], service["owner"]) == ("web", f"config:{file}")
    director.admin("-A", "-t", "192.0.2.1:25")
    write(director, MORE)
    hang_up(director)
    until(lambda: len(director.ask("services/web")["servers"]) == 2, "the file is read again")
    write(director, "services: []\n")
    hang_up(director)
    until(lambda: len(director.ask("services")["services"]) == 1, "what left the file is gone")
    assert director.ask("services")["services"][0]["listen"]["port"] == 25
    until(lambda: "192.0.2.7" not in addresses(director), "its address goes when no flow is left", timeout_s=30)


def test_a_file_that_is_wrong_changes_nothing(director: Director) -> None:
    """On SIGHUP, and at the next start, the configuration in force stays; the fault is in log and status."""
    write(director, GOOD)
    director.start()
    before = director.ask("services")["services"]
    file = write(director, WRONG)
    hang_up(director)
    until(lambda: f"{file}:5:34" in director.log.read_text(), "the fault is told")
    assert director.ask("services")["services"] == before
    finished(subprocess.Popen(command("xlvs", "stop", "--instance", director.instance), text=True), "xlvs stop")
    assert director.process and director.process.wait() == 0
    director.start()
    assert director.ask("services")["services"] == before
    assert any(str(file) in warning for warning in director.ask("status")["warnings"])
    write(director, GOOD)
    hang_up(director)
    until(lambda: not any(str(file) in w for w in director.ask("status")["warnings"]), "the fault is mended")


def test_a_first_start_with_a_wrong_file_is_refused(director: Director) -> None:
    """With nothing in force there is nothing to keep: the operator is told at once, and nothing is left attached."""
    write(director, WRONG)
    with pytest.raises(HostError, match="did not start"):
        director.start()
    assert "did you mean 'port'?" in director.log.read_text()


def test_a_watched_file_needs_no_signal(director: Director) -> None:
    """What it says is in force when it has changed; one that is wrong is not, and is told."""
    director.options = (*director.options, "--watch")
    write(director, "services: [{listen: {address: 192.0.2.1, port: 80}}]\n")
    director.start()
    write(director, "services: [{listen: {address: 192.0.2.1, port: 81}}]\n")
    until(lambda: "192.0.2.1:81" in director.admin("-L", "-n"), "the change was not seen")
    write(director, "services: [{listen: {address: 192.0.2.1, prot: 82}}]\n")
    until(lambda: "is not in force" in str(director.ask("status")), "the mistake was not told")
    assert "192.0.2.1:81" in director.admin("-L", "-n")
