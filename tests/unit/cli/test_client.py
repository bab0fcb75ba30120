"""The client of the daemon's socket."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from xlvs.cli.client import Client, socket_path
from xlvs.errors import NoSuchServiceError, UnreachableError, XlvsError


class Peer:
    """One end of a socket that answers each line with the next of *answers* and then hangs up."""

    def __init__(self, path: Path) -> None:
        self.answers: list[bytes] = []
        self.lines: list[bytes] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with self._listener, connection, connection.makefile("rwb") as stream:
            for answer in self.answers:
                self.lines.append(stream.readline())
                stream.write(answer)
                stream.flush()


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """A peer at "s" in the test's directory, not yet running."""
    found = Peer(tmp_path / "s")
    yield found
    found.thread.join(10)
    assert not found.thread.is_alive()


def test_many_calls_use_one_connection(peer: Peer, tmp_path: Path) -> None:
    """Each call is one JSON line and its answer, one after the other."""
    peer.answers = [b'{"ok": true, "result": null}\n', b'{"ok": true, "result": {"a": 1}}\n']
    peer.thread.start()
    with Client(str(tmp_path / "s")) as client:
        assert client.call("flush") is None
        assert client.call("zero", service={"port": 1}) == {"a": 1}
    assert [json.loads(line) for line in peer.lines] == [{"op": "flush"}, {"op": "zero", "service": {"port": 1}}]


def test_failure_is_raised_as_the_error_it_names(peer: Peer, tmp_path: Path) -> None:
    """A known code gives its class, an unknown one the base class with that code."""
    peer.answers = [
        b'{"ok": false, "error": {"code": "no-such-service", "message": "gone"}}\n',
        b'{"ok": false, "error": {"code": "odd", "message": "strange"}}\n',
    ]
    peer.thread.start()
    with Client(str(tmp_path / "s")) as client:
        with pytest.raises(NoSuchServiceError, match="^gone$"):
            client.call("list")
        with pytest.raises(XlvsError, match="^strange$") as odd:
            client.call("list")
    assert odd.value.code == "odd"


@pytest.mark.parametrize("answer", [b"", b'{"ok": true'])
def test_daemon_that_hangs_up_is_unreachable(answer: bytes, peer: Peer, tmp_path: Path) -> None:
    """No answer and half an answer are the same: nothing is known of what was done."""
    peer.answers = [answer]
    peer.thread.start()
    with Client(str(tmp_path / "s")) as client, pytest.raises(UnreachableError, match="before it answered"):
        client.call("list")


def test_missing_daemon_is_named_with_its_remedy(tmp_path: Path) -> None:
    """The sentence names the socket and the command that starts a daemon."""
    with Client(f"{tmp_path}/none.sock") as client, pytest.raises(UnreachableError) as error:
        client.call("list")
    assert f"{tmp_path}/none.sock" in str(error.value)
    assert "`xlvs daemon`" in str(error.value)


def test_path_too_long_for_a_socket_is_unreachable(tmp_path: Path) -> None:
    """A path that no socket can have is a sentence too."""
    with Client(f"{tmp_path}/{'x' * 120}") as client, pytest.raises(UnreachableError, match="too long"):
        client.call("list")


def test_socket_is_that_of_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name given wins over the environment, and the environment over "default"."""
    monkeypatch.delenv("XLVS_RUN_DIR", raising=False)
    monkeypatch.delenv("XLVS_INSTANCE", raising=False)
    assert socket_path() == "/run/xlvs/default.sock"
    monkeypatch.setenv("XLVS_INSTANCE", "edge")
    assert socket_path() == "/run/xlvs/edge.sock"
    monkeypatch.setenv("XLVS_RUN_DIR", "/tmp/x")
    assert socket_path("core") == "/tmp/x/core.sock"


def test_xlvsadm_starts_light() -> None:
    """Scripts call it hundreds of times, so it imports nothing that costs and that it does not need."""
    heavy = ["argparse", "asyncio", "dataclasses", "inspect", "ipaddress", "logging", "numpy", "pyroute2", "typing"]
    program = f"import sys, xlvs.cli.xlvsadm; print([name for name in {heavy} if name in sys.modules])"
    # -S: what site packages import at start is not ours.
    source = Path(__file__).parents[3] / "src"
    answer = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(source)!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == "[]\n"


def test_status_of_the_process_is_that_of_ipvsadm() -> None:
    """A refused command line is status 255 for the shell, not 1."""
    program = "import sys; from xlvs.cli.xlvsadm import main; sys.exit(main(['-L', '--bogus']))"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (255, "", "--bogus: unknown option\n")
