"""The socket: whatever a client does, it gets one line or a closed connection, and others notice nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xlvs.daemon.server import MAX_LINE, Server
from xlvs.errors import ServiceExistsError


async def answer(request: dict[str, Any]) -> Any:
    """Do as a request says."""
    match request.get("op"):
        case "exists":
            raise ServiceExistsError("it exists")
        case "bug":
            raise ZeroDivisionError("secret detail")
        case "big":
            return "x" * (4 * MAX_LINE)
    return request.get("value")


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """The socket of a running server."""
    where = tmp_path / "s"
    loop = asyncio.new_event_loop()
    server = Server(where, answer)
    loop.run_until_complete(server.start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield where
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.run_until_complete(loop.shutdown_asyncgens())
    for task in asyncio.all_tasks(loop):
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


class Client:
    """A client that may misbehave."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.lines.close()
        self.socket.close()

    def ask(self, data: bytes) -> Any:
        """Send bytes and return the line that comes back, None if the connection is closed."""
        self.socket.sendall(data)
        line = self.lines.readline()
        return json.loads(line) if line else None


def test_a_connection_carries_many_requests_in_order(path: Path) -> None:
    """Requests sent at once are answered one after the other."""
    with Client(path) as client:
        assert client.ask(b'{"op":"x","value":1}\n{"op":"x","value":2}\n') == {"ok": True, "result": 1}
        assert client.ask(b'{"op":"x","value":3}\n') == {"ok": True, "result": 2}
        assert json.loads(client.lines.readline())["result"] == 3


def test_a_refusal_carries_code_and_sentence(path: Path) -> None:
    """Errors travel by their stable code; the connection goes on."""
    with Client(path) as client:
        error = {"code": "service-exists", "message": "it exists"}
        assert client.ask(b'{"op":"exists"}\n') == {"ok": False, "error": error}
        assert client.ask(b'{"op":"x"}\n') == {"ok": True, "result": None}


def test_a_failure_of_ours_shows_no_inner_detail(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A bug is one sentence for the client and a traceback for the log."""
    with Client(path) as client:
        reply = client.ask(b'{"op":"bug"}\n')
    assert reply["error"]["code"] == "error"
    assert "secret" not in reply["error"]["message"]
    assert "secret detail" in capfd.readouterr().err


@pytest.mark.parametrize(
    "data",
    [b"hello\n", b"[]\n", b'"x"\n', b"\xff\xfe\n", b"\n", b"[" * 100_000 + b"\n", b"x" * (MAX_LINE + 2) + b"\n"],
    ids=["text", "list", "string", "bytes", "empty", "deep", "long"],
)
def test_what_is_no_request_ends_the_connection(path: Path, data: bytes) -> None:
    """Anything but one JSON object per line is an error, after which nothing more is believed."""
    with Client(path) as client:
        reply = client.ask(data)
        assert reply["error"]["code"] == "invalid"
        assert client.lines.readline() == b""


def test_clients_that_hang_or_vanish_disturb_nobody(path: Path) -> None:
    """Half a line, an answer that nobody reads, a connection cut off: the next client is served."""
    with Client(path) as half, Client(path) as deaf, Client(path) as honest:
        half.socket.sendall(b'{"op":')
        deaf.socket.sendall(b'{"op":"big"}\n')
        gone = Client(path)
        gone.socket.sendall(b'{"op":"big"}\n')
        gone.__exit__()
        assert honest.ask(b'{"op":"x","value":7}\n') == {"ok": True, "result": 7}


def test_only_root_may_connect(path: Path) -> None:
    """The socket is neither readable nor writable for others."""
    assert path.stat().st_mode & 0o177 == 0
