"""The client of the daemon's API."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlvs.cli.client import Client, quote, socket_path
from xlvs.errors import ConflictError, NoSuchServiceError, UnreachableError, XlvsError


def answer(body: str, status: str = "200 OK", *headers: str) -> bytes:
    """Return the bytes of a whole answer."""
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n{body}".encode()


def problem(code: str, detail: str) -> bytes:
    """Return the bytes of a refusal."""
    return answer(f'{{"code": "{code}", "detail": "{detail}"}}', "409 Conflict")


class Peer:
    """One end of a socket: each connection is a list of answers, one per request, after which it hangs up."""

    def __init__(self, path: Path) -> None:
        self.connections: list[list[bytes]] = []
        self.requests: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        with self._listener:
            for answers in self.connections:
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rwb") as stream:
                    for data in answers:
                        self.requests.append(self._request(stream))
                        stream.write(data)
                        stream.flush()

    def _request(self, stream: socket.SocketIO) -> str:  # type: ignore[name-defined]
        lines = []
        while line := stream.readline().decode().rstrip("\r\n"):
            lines.append(line)
        length = next((int(x.split()[1]) for x in lines if x.startswith("Content-Length")), 0)
        return "\n".join([*lines, stream.read(length).decode()])


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """A peer at "s" in the test's directory, not yet running."""
    found = Peer(tmp_path / "s")
    yield found
    found.thread.join(10)
    assert not found.thread.is_alive()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """A client of that peer."""
    with Client(str(tmp_path / "s"), owner="cli") as found:
        yield found


def test_many_calls_use_one_connection(peer: Peer, client: Client) -> None:
    """Each call is one request and its answer, one after the other, the owner with the writes alone."""
    peer.connections = [[answer('{"a": 1}', "200 OK", 'ETag: "7"'), answer("null"), answer("", "204 No Content")]]
    peer.thread.start()
    assert client.get("/v1/services/tcp:[fd00::1]:80", {"counters": False}) == {"a": 1}
    assert client.generation == 7
    assert client.post("/v1/services", {"x": 1}, {"dry-run": True}, if_match=7) is None
    assert client.delete("/v1/services/a b") is None
    peer.thread.join(10)
    assert peer.requests == [
        "GET /v1/services/tcp:[fd00::1]:80?counters=false HTTP/1.1\nHost: xlvs\n",
        "POST /v1/services?owner=cli&dry-run=true HTTP/1.1\nHost: xlvs\n"
        'If-Match: "7"\nContent-Type: application/json\nContent-Length: 8\n{"x": 1}',
        "DELETE /v1/services/a%20b?owner=cli HTTP/1.1\nHost: xlvs\n",
    ]


def test_connection_that_was_closed_meanwhile_is_opened_again(peer: Peer, client: Client) -> None:
    """A restore that waits for its next line longer than the daemon does goes on."""
    peer.connections = [[answer("1")], [answer("2")]]
    peer.thread.start()
    assert client.get("/") == 1
    while not client._connection.is_over():  # type: ignore[union-attr]
        pass
    assert client.get("/") == 2


def test_answer_in_chunks_is_put_together(peer: Peer, client: Client) -> None:
    """A body whose length nobody knew beforehand (RFC 9112 §7.1)."""
    peer.connections = [[b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[1\r\n3;x\r\n,2]\r\n0\r\n\r\n"]]
    peer.thread.start()
    assert client.get("/") == [1, 2]


def test_failure_is_raised_as_the_error_it_names(peer: Peer, client: Client) -> None:
    """A known code gives its class, an unknown one the base class with that code; the connection goes on."""
    peer.connections = [[problem("no-such-service", "gone"), problem("conflict", "late"), problem("odd", "strange")]]
    peer.thread.start()
    with pytest.raises(NoSuchServiceError, match="^gone$"):
        client.get("/")
    with pytest.raises(ConflictError, match="^late$"):
        client.put("/", {})
    with pytest.raises(XlvsError, match="^strange$") as odd:
        client.patch("/", {})
    assert odd.value.code == "odd"


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-", answer("[1, 2]")[:-2]], ids=["nothing", "head", "body"]
)
def test_daemon_that_hangs_up_is_unreachable(data: bytes, peer: Peer, client: Client) -> None:
    """No answer and half an answer are the same: nothing is known of what was done."""
    peer.connections = [[data]]
    peer.thread.start()
    with pytest.raises(UnreachableError, match="before it answered"):
        client.get("/")


@pytest.mark.parametrize("data", [b"hello\n", b"HTTP/1.1 fine\r\n\r\n", answer("hello")])
def test_what_is_no_daemon_is_said_to_be_none(data: bytes, peer: Peer, client: Client) -> None:
    """Another program's socket is a sentence, not a traceback."""
    peer.connections = [[data]]
    peer.thread.start()
    with pytest.raises(UnreachableError, match="no xlvs daemon"):
        client.get("/")


def test_refusal_that_comes_before_all_was_sent_is_read(peer: Peer, client: Client) -> None:
    """A daemon that wants no more of a body has said why."""
    peer.connections = [[problem("too-large", "too much")]]
    peer._request = lambda stream: stream.readline().decode()  # type: ignore[method-assign]
    peer.thread.start()
    with pytest.raises(XlvsError, match="^too much$"):
        client.put("/", b"x" * 10_000_000)


def test_events_come_one_by_one(peer: Peer, client: Client) -> None:
    """Comments are left out, and events may be cut anywhere between chunks."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [b": hello\n\nevent: change\nid: 7\nda", b'ta: {"a": 1}\n\n', b": still here\n\ndata: x\n\n"]
    peer.connections = [[head + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"]]
    peer.thread.start()
    assert list(client.stream("/v1/watch")) == [{"event": "change", "id": "7", "data": '{"a": 1}'}, {"data": "x"}]


@pytest.mark.parametrize("cuts", [[3, 7, 10], [5], [], [4, 9, 14, 20]])
def test_long_answers_come_in_blocks_of_lines(cuts: list[int], peer: Peer, client: Client) -> None:
    """However the daemon cuts them, and also when the last line has no end."""
    body = b"a,b\nhello,1\nworld,2\nend"
    ends = list(zip([0, *cuts], [*cuts, len(body)], strict=True))
    chunks = b"".join(b"%x\r\n%s\r\n" % (end - begin, body[begin:end]) for begin, end in ends)
    peer.connections = [[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"]]
    peer.thread.start()
    blocks = list(client.blocks("/v1/flows", {"limit": 3}))
    assert b"".join(blocks) == body
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert "Accept: text/csv" in peer.requests[0]


def test_list_that_breaks_off_is_no_list(peer: Peer, client: Client) -> None:
    """What came is used, and the end of it is an error with the way out."""
    peer.connections = [[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na,b\n\r\n9\r\nhel"]]
    peer.thread.start()
    blocks = client.blocks("/v1/flows")
    assert next(blocks) == b"a,b\n"
    with pytest.raises(UnreachableError, match="broke off: the daemon has ended, or nobody read for too long"):
        next(blocks)


def test_refused_stream_is_raised(peer: Peer, client: Client) -> None:
    """A stream that does not begin is an error as any other."""
    peer.connections = [[problem("odd", "not now")]]
    peer.thread.start()
    with pytest.raises(XlvsError, match="^not now$"):
        client.stream("/v1/watch")


@given(st.text())
def test_quoted_text_is_read_back(text: str) -> None:
    """Whatever an owner or a name holds arrives."""
    quoted = quote(text)
    assert unquote(quoted) == text
    assert quoted.isascii() and not set(" ?&=#%+\n") & set(quoted.replace("%", "", quoted.count("%")))


def test_missing_daemon_is_named_with_its_remedy(tmp_path: Path) -> None:
    """The sentence names the socket and the command that starts a daemon."""
    with Client(f"{tmp_path}/none.sock") as client, pytest.raises(UnreachableError) as error:
        client.get("/v1/services")
    assert f"{tmp_path}/none.sock" in str(error.value)
    assert "`xlvs daemon`" in str(error.value)


def test_path_too_long_for_a_socket_is_unreachable(tmp_path: Path) -> None:
    """A path that no socket can have is a sentence too."""
    with Client(f"{tmp_path}/{'x' * 120}") as client, pytest.raises(UnreachableError, match="too long"):
        client.get("/v1/services")


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
    heavy = ["argparse", "asyncio", "dataclasses", "http", "inspect", "ipaddress", "logging", "msgspec", "numpy"]
    heavy += ["pyroute2", "typing", "urllib"]
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
