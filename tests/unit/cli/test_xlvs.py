"""``xlvs``: which word runs what, and how tables look."""

from __future__ import annotations

import importlib

import pytest

import xlvs
from xlvs.cli import get
from xlvs.cli.main import COMMANDS, main


def test_every_command_leads_somewhere() -> None:
    """Each sub-command's module exists and has a main."""
    assert [name for name, (module, _) in COMMANDS.items() if not callable(importlib.import_module(module).main)] == []


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, and when asked, all commands are shown."""
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in shown] == []


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"xlvs {xlvs.__version__}\n"


def test_a_misspelt_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody knows ends with exit code 2 and the list of what there is."""
    assert main(["deamon"]) == 2
    assert "no command 'deamon'" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["get", "status"], ["stop"]])
def test_without_a_daemon_the_sentence_says_what_to_do(
    words: list[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody answers: one sentence, exit code 1."""
    monkeypatch.setenv("XLVS_RUN_DIR", str(tmp_path))
    assert main(words) == 1
    assert "start one with `xlvs daemon`" in capsys.readouterr().err


def test_columns_are_aligned_and_numbers_are_to_the_right() -> None:
    """Widths follow the widest cell; a column of numbers is right-aligned, and no line ends in blanks."""
    table = get.aligned(("NAME", "N", "WHY"), [("a", 7, "short"), ("longer", 123, "")])
    assert table.splitlines() == ["NAME      N  WHY", "a         7  short", "longer  123"]


def test_addresses_of_version_6_have_brackets() -> None:
    """So that the port can be told from the address."""
    assert get.endpoint("2001:db8::1", 80) == "[2001:db8::1]:80"
    assert get.endpoint("192.0.2.1", 80) == "192.0.2.1:80"
