"""``xlvs``: which word runs what, and how tables look."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import xlvs
from xlvs.cli.main import COMMANDS, main
from xlvs.cli.show import output


def test_every_command_leads_somewhere() -> None:
    """Each verb's module exists and has a main."""
    missing = [
        name
        for name, command in COMMANDS.items()
        if not callable(getattr(importlib.import_module(command.module), f"main{command.suffix}", None))
    ]
    assert missing == []


@pytest.mark.parametrize("words", [[], ["--help"], ["help"]])
def test_help_names_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command, and when asked, all commands are shown."""
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in shown] == []


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The version is the package's."""
    assert main([word]) == 0
    assert capsys.readouterr().out == f"xlvs {xlvs.__version__}\n"


def test_version_without_a_daemon(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That no daemon answers is no error here."""
    monkeypatch.setenv("XLVS_RUN_DIR", str(tmp_path))
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"xlvs {xlvs.__version__}\ndaemon default: does not answer\n"


def test_a_misspelt_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """What nobody knows ends with exit code 2 and the list of what there is."""
    assert main(["deamon"]) == 2
    assert "no command 'deamon' (did you mean 'daemon'?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["get", "status"],
        ["get", "services", "--watch"],
        ["describe", "service", "web"],
        ["delete", "service", "web"],
        ["edit", "service", "web"],
        ["plan", "FILE"],
        ["apply", "FILE"],
        ["stop"],
    ],
)
def test_without_a_daemon_the_sentence_says_what_to_do(
    words: list[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody answers: one sentence, exit code 1."""
    monkeypatch.setenv("XLVS_RUN_DIR", str(tmp_path))
    file = f"{tmp_path}/xlvs.yaml"
    with open(file, "w") as out:
        out.write("services: []")
    assert main([file if word == "FILE" else word for word in words]) == 1
    shown = capsys.readouterr().err
    assert "start one with `xlvs daemon`" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("words", [["get", "nonsense"], ["apply"], ["delete", "service"], ["get", "drops", "x"]])
def test_wrong_usage_ends_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As argparse has it: usage and reason on stderr."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert "usage: xlvs" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_verbs_options_and_files(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every verb is offered, and so are the options and choices behind it."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert [name for name in COMMANDS if name not in script] == []
    assert "take-over" in script
    assert "interfaces" in script


def test_completion_for_bash_is_bash(capsys: pytest.CaptureFixture[str]) -> None:
    """The shell takes it."""
    main(["completion", "bash"])
    subprocess.run(["bash", "-n"], input=capsys.readouterr().out, text=True, check=True)


def test_looking_costs_no_more_than_it_needs() -> None:
    """`xlvs get` loads neither numpy nor YAML nor the daemon."""
    code = "import sys, xlvs.cli.main, xlvs.cli.show.get; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "yaml", "msgspec", "xlvs.daemon", "litestar"}.isdisjoint(loaded)


def test_columns_are_aligned_and_numbers_are_to_the_right() -> None:
    """Widths follow the widest cell; a column of numbers is right-aligned, and no line ends in blanks."""
    table = output.aligned(("NAME", "N", "WHY"), [("a", 7, "short"), ("longer", 123, "")])
    assert table.splitlines() == ["NAME      N  WHY", "a         7  short", "longer  123"]


def test_addresses_of_version_6_have_brackets() -> None:
    """So that the port can be told from the address."""
    assert output.endpoint("2001:db8::1", 80) == "[2001:db8::1]:80"
    assert output.endpoint("192.0.2.1", 80) == "192.0.2.1:80"
