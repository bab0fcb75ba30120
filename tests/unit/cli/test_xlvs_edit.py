"""``xlvs edit`` against the real API, with editors that are small programs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.xlvs_command import FILE, Xlvs, director, file, running, xlvs
from tests.unit.daemon.api.fake import FakeDirector
from xlvs.model import Address, Server, ServiceKey

__all__ = ["director", "file", "running", "xlvs"]

WEB = ServiceKey.parse("tcp:192.0.2.10:80")

Edits = Callable[..., Path]
"""Sets an editor that makes these edits, one (old, new) per start; returns where it keeps what it was shown."""


@pytest.fixture
def edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edits:
    """An editor: replaces a text by another, and keeps what it was shown."""
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def make(*steps: tuple[str, str]) -> Path:
        seen = tmp_path / "seen"
        seen.mkdir(exist_ok=True)
        script = tmp_path / "editor.py"
        script.write_text(
            f"import pathlib, sys\nsteps = {steps!r}\nseen = pathlib.Path({str(seen)!r})\n"
            "n = len(list(seen.iterdir()))\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n"
            "(seen / str(n)).write_text(text)\n"
            "path.write_text(text.replace(*steps[n]) if n < len(steps) else text)\n"
        )
        monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
        return seen

    return make


def left(folder: Path) -> list[Path]:
    """Return the texts that were kept."""
    return list(folder.glob("xlvs-edit-*"))


def test_a_file_is_edited_applied_and_replaced(file: Path, xlvs: Xlvs, edits: Edits, director: FakeDirector) -> None:
    """The plan is shown, the new text is in force and in the file, with its comments."""
    xlvs("apply", file)
    file.chmod(0o640)
    edits(("weight: 3", "weight: 4"))
    assert xlvs("edit", file) == (
        0,
        "~ service web tcp:192.0.2.10:80\n    ~ server 10.0.0.11:8080 (weight: 3 -> 4)\n"
        "generation 2: 1 service changed\n",
        "",
    )
    assert file.read_text() == FILE.replace("weight: 3", "weight: 4")
    assert file.stat().st_mode & 0o777 == 0o640
    assert director.engine.state.service(WEB).servers[0].weight == 4
    assert left(file.parent) == []


def test_leaving_it_unchanged_changes_nothing(file: Path, xlvs: Xlvs, edits: Edits, director: FakeDirector) -> None:
    """Exit code 0, nothing applied."""
    edits()
    assert xlvs("edit", file) == (0, "nothing changed\n", "")
    assert director.engine.state.services == {}
    assert left(file.parent) == []


def test_faults_come_back_into_the_editor(file: Path, xlvs: Xlvs, edits: Edits) -> None:
    """On top, as comments that do not get into the file."""
    seen = edits(("weight: 3", "wieght: 4"), ("wieght", "weight"))
    status, shown, _ = xlvs("edit", file)
    assert status == 0
    assert shown.endswith("generation 1: 2 services added\n")
    assert (seen / "1").read_text().splitlines()[:3] == [
        f"#! {file}:9:42: services[0].servers[0].wieght: unknown key (did you mean 'weight'?)",
        "#! Change it and save, or leave it as it is to give up.",
        "# what we have",
    ]
    assert file.read_text() == FILE.replace("weight: 3", "weight: 4")


def test_giving_up_keeps_the_text(file: Path, xlvs: Xlvs, edits: Edits) -> None:
    """A text with faults that is left as it is is kept in a file of its own."""
    edits(("weight: 3", "wieght: 4"))
    status, shown, error = xlvs("edit", file)
    (kept,) = left(file.parent)
    assert (status, shown) == (1, "")
    assert error.splitlines() == [
        f"xlvs: your text is kept in {kept}",
        "xlvs: the text was left as it was, with its faults; nothing was changed",
    ]
    assert kept.read_text() == FILE.replace("weight: 3", "wieght: 4")
    assert file.read_text() == FILE


def test_what_cannot_be_applied_is_kept(
    file: Path, xlvs: Xlvs, edits: Edits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a daemon the text is not lost, and the file stays as it was."""
    edits(("weight: 3", "weight: 4"))
    monkeypatch.setenv("XLVS_RUN_DIR", str(tmp_path / "nowhere"))
    status, _, error = xlvs("edit", file)
    (kept,) = left(file.parent)
    assert status == 1
    assert f"your text is kept in {kept}" in error
    assert "start one with `xlvs daemon`" in error
    assert kept.read_text() == FILE.replace("weight: 3", "weight: 4")
    assert file.read_text() == FILE


def test_a_file_that_somebody_else_changed_is_not_overwritten(
    file: Path, xlvs: Xlvs, edits: Edits, tmp_path: Path, director: FakeDirector
) -> None:
    """The other change stays, the text is kept, nothing is applied."""
    edits(("weight: 3", "weight: 4"))
    script = tmp_path / "editor.py"
    script.write_text(f"{script.read_text()}\npathlib.Path({str(file)!r}).write_text('services: []')\n")
    status, _, error = xlvs("edit", file)
    assert status == 1
    assert "was changed by somebody else meanwhile" in error
    assert file.read_text() == "services: []"
    assert director.engine.state.services == {}
    assert len(left(file.parent)) == 1


@pytest.mark.parametrize("editor", ["false", "/nowhere/editor", "'"])
def test_an_editor_that_fails(
    editor: str, file: Path, xlvs: Xlvs, edits: Edits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, and nothing is left behind."""
    edits()
    monkeypatch.setenv("EDITOR", editor)
    status, shown, error = xlvs("edit", file)
    assert (status, shown) == (1, "")
    assert error.startswith("xlvs: ") and error.count("\n") == 1
    assert left(file.parent) == []


def test_a_service_of_a_file_is_edited_there_too(file: Path, xlvs: Xlvs, edits: Edits, director: FakeDirector) -> None:
    """The change is in force and in the file, whose other bytes stay."""
    xlvs("apply", file)
    seen = edits(("weight: 3", "weight: 9"))
    status, shown, error = xlvs("edit", "service", "web")
    assert (status, error) == (0, "")
    assert shown.splitlines()[-1] == f"generation 2: 1 service changed; {file} says so, too"
    assert file.read_text() == FILE.replace("weight: 3", "weight: 9")
    assert director.engine.state.service(WEB).servers[0].weight == 9
    assert xlvs("plan", file)[0] == 0
    assert (seen / "0").read_text().splitlines()[0] == f"#! web (192.0.2.10:80/tcp), which belongs to config:{file}"


def test_servers_are_removed_and_added_in_the_file(file: Path, xlvs: Xlvs, edits: Edits) -> None:
    """Lines come and go, comments stay."""
    xlvs("apply", file)
    edits(("- {address: 10.0.0.12, port: 8080", "- {address: 10.0.0.13, port: 8081"))
    assert xlvs("edit", "service", "web")[0] == 0
    assert file.read_text() == FILE.replace(
        "{address: 10.0.0.12, port: 8080, forward: route}",
        "{address: 10.0.0.13, port: 8081, forward: route, weight: 1}",
    )


def test_a_service_of_nobodys_file_keeps_its_owners(
    xlvs: Xlvs, edits: Edits, director: FakeDirector, tmp_path: Path
) -> None:
    """The service and each server stay whose they were."""
    (tmp_path / "f").write_text("services: [{listen: {address: 192.0.2.10, port: 80}}]")
    xlvs("apply", tmp_path / "f")
    added = Server(Address.parse("10.0.0.99"), 80, owner="cli")
    director.engine.hold(director.engine.state.add_server(WEB, added))
    state = director.engine.state
    director.engine.hold(state.edit_service(WEB, owner="api"))
    edits(("scheduler: wlc", "scheduler: rr"))
    assert xlvs("edit", "service", WEB.id)[0] == 0
    service = director.engine.state.service(WEB)
    assert (service.scheduler, service.owner, service.servers) == ("rr", "api", (added,))


def test_what_a_service_listens_on_is_not_edited(file: Path, xlvs: Xlvs, edits: Edits) -> None:
    """That would be another service; the sentence comes back into the editor."""
    xlvs("apply", file)
    seen = edits(("port: 80,", "port: 81,"))
    assert xlvs("edit", "service", "web")[0] == 1
    assert "what a service listens on cannot be edited" in (seen / "1").read_text()


def test_a_second_service_is_not_added_beside_the_edited_one(file: Path, xlvs: Xlvs, edits: Edits) -> None:
    """The sentence that comes back into the editor says how to change more."""
    xlvs("apply", file)
    seen = edits(("services:", "services:\n- listen: {address: 192.0.2.99, port: 1}"))
    assert xlvs("edit", "service", "web")[0] == 1
    assert "this is for one service and nothing else; edit or apply a file to change more" in (seen / "1").read_text()
    assert file.read_text() == FILE


@pytest.mark.parametrize("words", [["edit", "service"], ["edit", "-"], ["edit", "a", "b"]])
def test_wrong_usage(words: list[str], xlvs: Xlvs) -> None:
    """Exit code 2."""
    with pytest.raises(SystemExit) as caught:
        xlvs(*words)
    assert caught.value.code == 2
