"""``xlvs`` in front of the real API over a director in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.daemon.api.fake import FakeDirector, FakeEngine, Running
from xlvs.cli.main import main

Xlvs = Callable[..., tuple[int, str, str]]
"""Runs ``xlvs`` with these words; returns exit code, stdout and stderr."""

FILE = """\
# what we have
services:
  # the shop
  - name: web          # never rename
    listen: {address: 192.0.2.10, port: 80, protocol: tcp}
    scheduler: mh
    options: {mh-port: true}
    servers:
      - {address: 10.0.0.11, port: 8080, weight: 3}   # new box
      - {address: 10.0.0.12, port: 8080, forward: route}
  - name: dns
    listen: {address: "2001:db8::53", port: 53, protocol: udp}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The API on a real socket."""
    with Running(tmp_path_factory.mktemp("run") / "default.sock", FakeDirector()) as found:
        yield found


@pytest.fixture
def director(running: Running, monkeypatch: pytest.MonkeyPatch) -> FakeDirector:
    """Its director, empty, and where ``xlvs`` finds it."""
    running.director.engine = FakeEngine()
    running.director.told.clear()
    monkeypatch.setenv("XLVS_RUN_DIR", str(running.path.parent))
    monkeypatch.delenv("XLVS_INSTANCE", raising=False)
    return running.director


@pytest.fixture
def xlvs(director: FakeDirector, capsys: pytest.CaptureFixture[str]) -> Xlvs:
    """The command, in this process."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(word) for word in words])
        shown = capsys.readouterr()
        # The daemon is in this process, too, and logs what it refuses.
        error = [line for line in shown.err.splitlines(keepends=True) if not line.startswith("request refused: ")]
        return status, shown.out, "".join(error)

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two services."""
    path = tmp_path / "xlvs.yaml"
    path.write_text(FILE)
    return path
