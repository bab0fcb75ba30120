"""The daemon's clients' side of the API: HTTP/1.1 and JSON over its unix socket (docs/api.md).

Synchronous and import-light: `http.client` alone would double the start of a
command that scripts call hundreds of times.  Connects at the first call, and
one connection carries many.  Decides nothing: what the daemon refuses is
raised as the error it names.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from xlvs.errors import BY_CODE, UnreachableError, XlvsError

# typing costs milliseconds at every start, and only the type checker needs it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

DEFAULT_INSTANCE = "default"

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:[],@")
"""What stands for itself in a path or a query value (RFC 3986 §2.2; brackets are no delimiters to our daemon)."""

_MAX_LINE = 65536
_BLOCK = 65536
"""Bytes of a long answer that are handled together: what is made of more falls out of the CPU's cache."""


def socket_path(instance: str | None = None) -> str:
    """Return the path of the socket of *instance* (None: ``XLVS_INSTANCE``, else "default")."""
    name = instance or os.environ.get("XLVS_INSTANCE") or DEFAULT_INSTANCE
    return f"{os.environ.get('XLVS_RUN_DIR') or '/run/xlvs'}/{name}.sock"


def quote(text: str) -> str:
    """Return *text* as it may stand in a URL (RFC 3986 §2.1)."""
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode(errors="surrogateescape"))


class Client:
    """A connection to one daemon; what it writes belongs to *owner* ("": the daemon's default, "api").

    Usable in a ``with`` statement.  A call raises `UnreachableError` if nobody
    answers or this user may not ask (its cause tells them apart), else the
    error of `xlvs.errors` that the daemon names.  *generation* is that of the
    state in the last answer that had one (its ETag).

    Every call takes the *path* as it reads, ``/v1/services/tcp:[2001:db8::1]:80``, and its parameters as *query*;
    a *body* is made JSON unless it is bytes already.  *if_match* makes a write fail with `ConflictError` unless
    the state is still of that generation.
    """

    def __init__(self, path: str | None = None, *, owner: str = "") -> None:
        self.path = path or socket_path()
        self.owner = owner
        self.generation: int | None = None
        self._connection: _Connection | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next call opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """Return what is at *path*."""
        return self._call("GET", path, None, dict(query or {}), None)

    def post(
        self, path: str, body: object = None, query: Mapping[str, object] | None = None, if_match: int | None = None
    ) -> Any:
        """Add what *body* says to the collection at *path*, or have something done."""
        return self._write("POST", path, body, query, if_match)

    def put(
        self, path: str, body: object, query: Mapping[str, object] | None = None, if_match: int | None = None
    ) -> Any:
        """Let what is at *path* be as *body* says."""
        return self._write("PUT", path, body, query, if_match)

    def patch(
        self, path: str, body: object, query: Mapping[str, object] | None = None, if_match: int | None = None
    ) -> Any:
        """Change the fields that *body* has of what is at *path*."""
        return self._write("PATCH", path, body, query, if_match)

    def delete(self, path: str, query: Mapping[str, object] | None = None, if_match: int | None = None) -> Any:
        """Delete what is at *path*."""
        return self._write("DELETE", path, None, query, if_match)

    def stream(self, path: str, query: Mapping[str, object] | None = None) -> Events:
        """Return the server-sent events of *path* as dictionaries: ``event``, ``id``, ``data``; comments are left out.

        Nothing that happens after this call is missed.  Ends when the daemon ends.  Has a connection of its own, so
        that other calls may be made meanwhile.
        """
        connection = _Connection(self.path)
        try:
            connection.send("GET", _target(path, dict(query or {})), None, {"Accept": "text/event-stream"})
            if connection.head() != 200:
                raise _error(json.loads(connection.body()))
        except BaseException:
            connection.close()
            raise
        return Events(connection)

    def blocks(self, path: str, query: Mapping[str, object] | None = None, accept: str = "text/csv") -> Iterator[bytes]:
        """Return what is at *path*, of the media type *accept*, in blocks of whole lines.

        For answers of any size: the first block is there before the daemon has made the last.
        """
        connection = _Connection(self.path)
        try:
            connection.send("GET", _target(path, dict(query or {})), None, {"Accept": accept, "Connection": "close"})
            if connection.head() != 200:
                raise _error(json.loads(connection.body()))
        except BaseException:
            connection.close()
            raise
        return connection.blocks()

    def _write(
        self, method: str, path: str, body: object, query: Mapping[str, object] | None, if_match: int | None
    ) -> Any:
        asked = {"owner": self.owner, **(query or {})} if self.owner else dict(query or {})
        return self._call(method, path, body, asked, if_match)

    def _call(self, method: str, path: str, body: object, query: dict[str, object], if_match: int | None) -> Any:
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
        connection = self._connection
        if connection is None or connection.is_over():
            self.close()
            connection = self._connection = _Connection(self.path)
        try:
            connection.send(method, _target(path, query), payload, headers)
            status = connection.head()
            answer = connection.body()
            result = json.loads(answer) if answer else None
        except ValueError as error:
            self.close()
            raise UnreachableError(f"what answers on {self.path} is no xlvs daemon: {error}") from error
        except BaseException:
            # What is left of this answer must not be taken for the next one.
            self.close()
            raise
        etag = connection.headers.get("etag", "").strip('"')
        if etag.isdigit():
            self.generation = int(etag)
        if status >= 400:
            raise _error(result)
        return result


class Events:
    """The events of a stream, as they come.  Usable in a ``with`` statement."""

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._lines = connection.lines()

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Hear no more."""
        self._connection.close()

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> dict[str, str]:
        event: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(":")
            if name:
                event[name] = value.removeprefix(" ")
            elif not line and event:
                return event
        self.close()
        raise StopIteration


class _Connection:
    """One connection, one request at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.connect(path)
        except PermissionError as error:
            self._socket.close()
            raise UnreachableError(f"this user may not open {path}; run this as root") from error
        except OSError as error:
            self._socket.close()
            why = error.strerror or error
            raise UnreachableError(f"no xlvs daemon answers on {path} ({why}); start one with `xlvs daemon`") from error
        self._stream = self._socket.makefile("rb")
        self.headers: dict[str, str] = {}

    def close(self) -> None:
        """Hang up."""
        self._stream.close()
        self._socket.close()

    def is_over(self) -> bool:
        """Return whether the daemon has hung up since the last answer, as it does when nothing is asked for a while."""
        if self.headers.get("connection") == "close":
            return True
        try:
            return not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def send(self, method: str, target: str, payload: bytes | None, headers: dict[str, str]) -> None:
        """Send one request."""
        if payload is not None:
            headers = {**headers, "Content-Type": "application/json", "Content-Length": str(len(payload))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} {target} HTTP/1.1\r\nHost: xlvs\r\n{lines}\r\n".encode()
        try:
            self._socket.sendall(request + (payload or b""))
        except ConnectionError:
            # A daemon that wants no more of it has said why, and that can still be read.
            pass
        except OSError as error:
            raise self._broken(error) from error

    def head(self) -> int:
        """Read the head of the answer and return its status."""
        status = self._line().split(" ")
        if len(status) < 2 or not status[0].startswith("HTTP/1.") or not status[1].isdigit():
            raise UnreachableError(f"what answers on {self._path} is no xlvs daemon")
        self.headers = {}
        while line := self._line():
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        return int(status[1])

    def body(self) -> bytes:
        """Read the rest of the answer."""
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join(self._chunks())
        length = self.headers.get("content-length", "0")
        return self._read(int(length)) if length.isdigit() else b""

    def lines(self) -> Iterator[str]:
        """Yield the lines of a chunked answer as they come, until the daemon ends it or itself."""
        rest = b""
        for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")

    def blocks(self) -> Iterator[bytes]:
        """Yield a chunked answer as it comes, cut at the ends of lines, and hang up behind it."""
        rest = b""
        try:
            for chunk in self._chunks(_BLOCK):
                end = chunk.rfind(b"\n") + 1
                if end:
                    yield rest + chunk[:end]
                    rest = chunk[end:]
                else:
                    rest += chunk
            if rest:
                yield rest
        except UnreachableError as error:
            raise UnreachableError(
                f"the list from {self._path} broke off: the daemon has ended, or nobody read for too long; ask again"
            ) from error
        finally:
            self.close()

    def _chunks(self, most: int = sys.maxsize) -> Iterator[bytes]:
        """Yield the parts of a body whose length is not known (RFC 9112 §7.1), *most* bytes of them at once."""
        while size := int(self._line().split(";")[0], 16):
            while size > most:
                yield self._read(most)
                size -= most
            yield self._read(size + 2)[:-2]
        self._line()

    def _line(self) -> str:
        try:
            line = self._stream.readline(_MAX_LINE)
        except OSError as error:
            raise self._broken(error) from error
        if not line.endswith(b"\n"):
            raise self._ended()
        return line.decode("latin-1").rstrip("\r\n")

    def _read(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise self._broken(error) from error
        if len(data) < size:
            raise self._ended()
        return data

    def _broken(self, error: OSError) -> UnreachableError:
        return UnreachableError(f"the xlvs daemon at {self._path} broke the connection: {error.strerror}")

    def _ended(self) -> UnreachableError:
        return UnreachableError(f"the xlvs daemon at {self._path} closed the connection before it answered")


def _target(path: str, query: dict[str, object]) -> str:
    words = [f"{quote(name)}={quote(_word(value))}" for name, value in query.items()]
    return quote(path) + ("?" + "&".join(words) if words else "")


def _word(value: object) -> str:
    return ("false", "true")[value] if isinstance(value, bool) else str(value)


def _error(problem: Any) -> XlvsError:
    """Return the error that a problem document names (RFC 9457)."""
    code, detail = str(problem["code"]), str(problem["detail"])
    error = BY_CODE.get(code, XlvsError)(detail, code=code)
    error.edit = problem.get("edit")
    return error
