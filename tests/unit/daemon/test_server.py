"""The socket: whatever a client does, it gets a problem document or a closed connection, and others notice nothing."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.daemon.api.fake import FakeDirector, Running
from xlvs.cli.client import Client
from xlvs.daemon.api.connection import Patience
from xlvs.errors import XlvsError
from xlvs.model import Address, Server, Service, ServiceKey, State

MAX_BODY = 100_000
HURRY = Patience(idle_s=0.3, body_s=0.3, stall_s=0.3)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with a small limit for bodies."""
    with Running(tmp_path_factory.mktemp("server") / "s", FakeDirector(), max_body=MAX_BODY) as found:
        yield found


@pytest.fixture
def hurried(tmp_path: Path) -> Iterator[Running]:
    """A server without patience."""
    with Running(tmp_path / "s", FakeDirector(), patience=HURRY) as found:
        yield found


class Raw:
    """A client that may misbehave."""

    def __init__(self, running: Running) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(str(running.path))
        self.stream = self.socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stream.close()
        self.socket.close()

    def send(self, *lines: str, body: bytes = b"") -> None:
        """Send a request with these header lines."""
        self.socket.sendall("".join(f"{line}\r\n" for line in (*lines, "Host: x", "")).encode() + body)

    def answer(self) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        status = int(self.stream.readline().split()[1])
        headers = {}
        while line := self.stream.readline().decode().rstrip("\r\n"):
            name, _, value = line.lower().partition(": ")
            headers[name] = value
        if status >= 400:
            assert headers["content-type"] == "application/problem+json"
        return status, json.loads(self.stream.read(int(headers["content-length"])))

    def is_closed(self) -> bool:
        """Wait for the end of the connection; return whether it came without an answer."""
        try:
            return self.stream.read() == b""
        except ConnectionError:
            return True


def answers(running: Running) -> bool:
    """Return whether others are answered."""
    with Client(str(running.path)) as client:
        return client.get("/v1/timeouts")["tcp"] == 900


def test_only_root_may_connect(running: Running) -> None:
    """The socket is neither readable nor writable for others."""
    assert stat.S_IMODE(running.path.stat().st_mode) == 0o600


def test_a_connection_carries_many_requests_in_order(running: Running) -> None:
    """Requests sent at once are answered one after the other."""
    with Raw(running) as raw:
        request = "GET /v1/{} HTTP/1.1\r\nHost: x\r\n\r\n"
        raw.socket.sendall("".join(request.format(what) for what in ("drops", "timeouts", "counters")).encode())
        assert [list(raw.answer()[1])[0] for _ in range(3)] == ["no_server", "tcp", "flow_new"]


@pytest.mark.parametrize(
    ("request_line", "body", "status", "code", "words"),
    [
        ("GET /nothing/here", "", 404, "not-found", "/nothing/here"),
        ("GET /v1/services/%2e%2e%00", "", 404, "no-such-service", "no virtual service"),
        ("DELETE /v1/drops", "", 405, "method-not-allowed", "/v1/drops does not take DELETE"),
        ("BREW /v1/drops", "", 405, "method-not-allowed", "does not take BREW"),
        ("GET /v1/services?dryrun=true", "", 400, "invalid", "unknown parameter 'dryrun'"),
        ("GET /v1/services?counters=yes", "", 400, "invalid", "counters"),
        ("GET /v1/flows?limit=-1", "", 400, "invalid", "limit"),
        ("DELETE /v1/services?force=perhaps", "", 400, "invalid", "force"),
        ("DELETE /v1/services?owner=", "", 400, "invalid", "owner"),
        ("DELETE /v1/services?owner=a%0Ab", "", 400, "invalid", "owner"),
        ("POST /v1/services", "", 400, "invalid", "lacks its body"),
        ("POST /v1/services", "{", 400, "invalid", "truncated"),
        ("POST /v1/services", "hello", 400, "invalid", "malformed"),
        ("POST /v1/services", "\xff\xfe", 400, "invalid", "as expected"),
        ("POST /v1/services", "[]", 400, "invalid", "Expected `object`"),
        ("POST /v1/services", "[" * 90_000, 400, "invalid", "as expected"),
        ("POST /v1/services", '{"listen": 3}', 400, "invalid", "$.listen"),
        ("POST /v1/services", '{"listen": {"protocol": "dccp"}}', 400, "invalid", "dccp"),
        (
            "POST /v1/services",
            '{"listen": {"protocol": "tcp", "address": "1", "port": "80"}}',
            400,
            "invalid",
            "Expected `int`, got `str` - at `$.listen.port`",
        ),
        (
            "POST /v1/services",
            '{"listen": {"protocol": "tcp", "address": "1", "port": 80}}',
            400,
            "invalid",
            "'1' is not an IP address",
        ),
        ("POST /v1/services", '{"fwmark": 1}', 400, "invalid", "unknown field `fwmark`"),
    ],
)
def test_what_is_wrong_is_a_problem_document(
    request_line: str, body: str, status: int, code: str, words: str, running: Running
) -> None:
    """Status, code and one sentence that names the thing (RFC 9457); the connection goes on."""
    with Raw(running) as raw:
        data = body.encode("latin-1")
        raw.send(f"{request_line} HTTP/1.1", f"Content-Length: {len(data)}", body=data)
        found, problem = raw.answer()
        assert (found, problem["status"], problem["code"]) == (status, status, code)
        assert words in problem["detail"] and "\n" not in problem["detail"]
        assert problem.keys() == {"type", "title", "status", "detail", "code"}
        raw.send("GET /v1/timeouts HTTP/1.1")
        assert raw.answer()[0] == 200


def test_a_failure_of_ours_shows_no_inner_detail(
    running: Running, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A bug is one sentence for the client and a traceback for the log."""

    def fail() -> list[dict[str, Any]]:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(running.director, "interfaces", fail)
    with Client(str(running.path)) as client:
        with pytest.raises(XlvsError) as error:
            client.get("/v1/interfaces")
        assert client.get("/v1/timeouts")["tcp"] == 900
    assert (error.value.code, "secret" in str(error.value)) == ("error", False)
    assert "secret detail" in capfd.readouterr().err


@pytest.mark.parametrize("data", [b"hello\n\n", b"\x16\x03\x01\x02\x00\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_http_is_answered_and_ends_the_connection(data: bytes, running: Running) -> None:
    """Nothing more is believed after it."""
    with Raw(running) as raw:
        raw.socket.sendall(data)
        assert raw.answer()[1]["code"] == "invalid"
        assert raw.is_closed()
    assert answers(running)


def test_head_without_end_is_refused(running: Running) -> None:
    """A header line that never ends is not kept."""
    with Raw(running) as raw:
        raw.socket.sendall(b"GET /v1/drops HTTP/1.1\r\nX: ")
        with pytest.raises(ConnectionError):
            while True:
                raw.socket.sendall(b"x" * 4096)
        assert raw.answer()[0] == 400
    assert answers(running)


def test_body_that_says_it_is_too_large_is_refused_unread(running: Running) -> None:
    """413, before any of it is sent."""
    with Raw(running) as raw:
        raw.send("PUT /v1/config HTTP/1.1", f"Content-Length: {MAX_BODY + 1}")
        status, problem = raw.answer()
        assert (status, problem["code"], str(MAX_BODY) in problem["detail"]) == (413, "too-large", True)
    assert answers(running)


def test_body_without_end_is_refused(running: Running) -> None:
    """One that comes in chunks and never says how long it is."""
    with Raw(running) as raw:
        raw.send("PUT /v1/config HTTP/1.1", "Transfer-Encoding: chunked")
        chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        with pytest.raises(ConnectionError):
            while True:
                raw.socket.sendall(chunk)
        assert raw.answer()[0] == 413
    assert answers(running)


def test_client_is_told_that_its_body_is_too_large(running: Running) -> None:
    """Also one that sends all of it first."""
    with Client(str(running.path)) as client:
        with pytest.raises(XlvsError) as error:
            client.put("/v1/config", b"x" * 10_000_000)
        assert error.value.code == "too-large"
        assert client.get("/v1/timeouts")["tcp"] == 900


def test_clients_that_hang_or_vanish_disturb_nobody(running: Running, capfd: pytest.CaptureFixture[str]) -> None:
    """Half a head, half a body, a connection cut off in either: the next client is served, and nothing is logged."""
    with Raw(running) as head, Raw(running) as body:
        head.socket.sendall(b"GET /v1/")
        body.send("PUT /v1/config HTTP/1.1", "Content-Length: 1000", body=b'{"services"')
        for data in (b"GET", b"PUT /v1/config HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"):
            with Raw(running) as gone:
                gone.socket.sendall(data)
        assert answers(running)
    assert answers(running)
    assert capfd.readouterr().err == ""


def test_idle_connections_disturb_nobody(running: Running) -> None:
    """Two hundred of them, and the next client is served."""
    idle = [Raw(running) for _ in range(200)]
    assert answers(running)
    idle[-1].send("GET /v1/timeouts HTTP/1.1")
    assert idle[-1].answer()[0] == 200
    for raw in idle:
        raw.__exit__()


def test_slow_head_is_given_up(hurried: Running) -> None:
    """Bytes that make no request gain no time, on a new connection as on one that was answered."""
    for before in (0, 1):
        with Raw(hurried) as raw:
            for _ in range(before):
                raw.send("GET /v1/timeouts HTTP/1.1")
                raw.answer()
            trickle = threading.Event()

            def send(raw: Raw = raw, trickle: threading.Event = trickle) -> None:
                raw.socket.sendall(b"GET /v1/timeouts HTTP/1.1\r\nX: ")
                while not trickle.wait(0.02):
                    try:
                        raw.socket.sendall(b"x")
                    except OSError:
                        return

            thread = threading.Thread(target=send)
            thread.start()
            assert raw.is_closed()
            trickle.set()
            thread.join()
    assert answers(hurried)


def test_slow_body_is_given_up(hurried: Running) -> None:
    """With a sentence, since a request was understood."""
    with Raw(hurried) as raw:
        raw.send("PUT /v1/config HTTP/1.1", "Content-Length: 1000", body=b"{")
        status, problem = raw.answer()
        assert (status, problem["code"]) == (408, "too-slow")
        assert raw.is_closed()
    assert answers(hurried)


def test_answer_that_nobody_reads_is_given_up(hurried: Running) -> None:
    """A list of thousands of services is not kept for a client that does not take it."""
    servers = tuple(Server(Address.parse("10.0.0.1"), port) for port in range(50))
    keys = [ServiceKey("tcp", Address.parse("192.0.2.1"), port) for port in range(1, 1000)]
    hurried.director.engine.hold(State({key: Service(key, servers=servers) for key in keys}))
    with Raw(hurried) as deaf, Raw(hurried) as slow:
        for raw in (deaf, slow):
            raw.send("GET /v1/services HTTP/1.1")
        assert slow.answer()[0] == 200
        while len(hurried.server._uvicorn.server_state.connections) > 1:
            slow.send("GET /v1/timeouts HTTP/1.1")
            slow.answer()
        assert not deaf.is_closed()
    assert answers(hurried)


def test_idle_connection_is_opened_anew_by_the_client(hurried: Running) -> None:
    """A client that waits longer than the server is served all the same."""
    with Client(str(hurried.path)) as client:
        client.get("/v1/timeouts")
        while not client._connection.is_over():  # type: ignore[union-attr]
            pass
        assert client.get("/v1/timeouts")["tcp"] == 900


def test_end_is_not_held_up_by_clients(tmp_path: Path) -> None:
    """Idle ones, half requests and one that does not read: the daemon ends, and the socket is gone."""
    with Running(tmp_path / "s", FakeDirector()) as running:
        idle, half, answered = Raw(running), Raw(running), Raw(running)
        half.send("PUT /v1/config HTTP/1.1", "Content-Length: 1000", body=b"{")
        answered.send("GET /v1/timeouts HTTP/1.1")
        answered.answer()
    assert not running.path.exists()
    for raw in (idle, half, answered):
        assert raw.is_closed()
        raw.__exit__()
