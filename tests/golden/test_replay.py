"""Every captured command line, right and wrong: what ipvsadm answered is what xlvsadm answers."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from tests.golden.conftest import Run, outcome
from tests.golden.fake import FakeDaemon
from tests.golden.replay import COMMANDS, DIFFERENCES, NOT_ROOT, differing, sequences

TABLE = Path(__file__).parents[2] / "docs" / "xlvsadm.md"


def test_every_captured_command_is_answered_as_ipvsadm_does(run: Run) -> None:
    """Output, exit status and the state afterwards, or else as the table of differences says."""
    wrong = differing(run)
    assert not wrong, "\n".join(wrong)


def test_differences_are_in_the_manual_and_about_something() -> None:
    """A row that no capture asks for would hide a spelling mistake, and an operator reads no tests."""
    lines = [capture["cmd"] for _, found in sequences() for capture in found]
    lines += [case["cmd"] for case in COMMANDS["cases"]]
    lines += [line for _, found in sequences() for capture in found for line in capture.get("stdin", "").splitlines()]
    manual = TABLE.read_text()
    for row in DIFFERENCES:
        assert any(re.search(row.pattern, line) for line in lines), row
        assert f"| {row.reason} |" in manual, row


def test_a_user_without_rights_is_told_so_in_the_words_of_ipvsadm(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that this user may not open is what IPVS without root is."""

    def refuse(_socket: socket.socket, _path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    (case,) = (case for case in COMMANDS["cases"] if case["cmd"].startswith(NOT_ROOT))
    assert run("ipvsadm -A -t 10.0.0.100:90") == outcome(case)
    assert daemon.connections == 0
