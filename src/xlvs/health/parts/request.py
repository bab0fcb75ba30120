"""An HTTP request and what its answer must be: what http, https and their relatives share."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Check, Failed, Target, Unable
from xlvs.health.parts.net import Lines

MOST = 1 << 20
"""Bytes of a body that are looked at."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""Of a header (RFC 9110 §5.1)."""
_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?|")
_STATUS = re.compile(r"([1-5]\d\d)(?:-([1-5]\d\d))?", re.ASCII)


@dataclass
class Reply:
    """What a server said."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


class Judged(Check, frozen=True, kw_only=True):
    """A request, wherever it is sent, and its right answer."""

    method: Annotated[str, Meta(pattern="^[A-Z]+$", description="GET, HEAD, OPTIONS and so on.")] = "GET"
    headers: Annotated[dict[str, str], Meta(description="More headers of the request.")] = {}
    body: Annotated[str, Meta(description="Of the request.")] = ""
    status: Annotated[str | int, Meta(description="Which answers are good: 200, 200-299, or several: 200-299,404.")] = (
        "200-299"
    )
    regex: Annotated[str, Meta(description="The body must match it somewhere.")] = ""
    regex_not: Annotated[str, Meta(description="The body must not match it anywhere.")] = ""
    digest: Annotated[
        str, Meta(pattern="^([0-9a-f]{32}|[0-9a-f]{64})?$", description="MD5 or SHA-256 of the body, in hexadecimal.")
    ] = ""
    expect: Annotated[dict[str, str], Meta(description="Headers of the answer, each with a regular expression.")] = {}

    def validate(self) -> None:
        """See that headers can be sent, and ranges and expressions can be read; raises `InvalidError`."""
        super().validate()
        for name, value in self.headers.items():
            if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise InvalidError(
                    f"the header {name!r}: {value!r} cannot be sent; a name is one word, a value one line"
                )
        ranges(str(self.status))
        for text in (self.regex, self.regex_not, *self.expect.values()):
            expression(text)

    def all_headers(self, host: str) -> list[tuple[str, str]]:
        """Return the headers of the request, that of the *host* first; those of the configuration win."""
        found = {"host": host, "user-agent": "xlvs", "accept": "*/*"}
        if self.body:
            found["content-length"] = str(len(self.body.encode()))
        return list((found | {name.lower(): value for name, value in self.headers.items()}).items())

    async def exchange(self, stream: Lines, what: str, host: str) -> Reply:
        """Ask for *what* by HTTP/1.1 and return the answer; raises `Failed`."""
        headers = [(name, value) for name, value in self.all_headers(host) if name != "connection"]
        return await _exchange(stream, self.method, what, [*headers, ("connection", "close")], self.body.encode())

    def judge(self, reply: Reply) -> None:
        """See that the answer is right; raises `Failed`."""
        if not any(low <= reply.status <= high for low, high in ranges(str(self.status))):
            raise Failed(f"status {reply.status}, not {self.status}")
        for name, wanted in self.expect.items():
            values = [value for key, value in reply.headers if key.lower() == name.lower()]
            if not any(expression(wanted).search(value) for value in values):
                raise Failed(
                    f"its header {name} is {values[0]!r}, not {wanted!r}" if values else f"it has no header {name}"
                )
        text = reply.body.decode("utf-8", "replace")
        if self.regex and not expression(self.regex).search(text):
            raise Failed(f"its body does not match {self.regex!r}")
        if self.regex_not and expression(self.regex_not).search(text):
            raise Failed(f"its body matches {self.regex_not!r}")
        if self.digest:
            kind = hashlib.md5 if len(self.digest) == 32 else hashlib.sha256
            if (found := kind(reply.body).hexdigest()) != self.digest:
                raise Failed(f"its body has the digest {found}")


class Request(Judged, frozen=True, kw_only=True):
    """A request to a web server."""

    path: Annotated[str, Meta(pattern="^(/[!-~]*|[*])$", description="What is asked for, with a query.")] = "/"
    host: Annotated[str, Meta(pattern="^[!-~]*$", description="The header Host; empty: address and port.")] = ""
    version: Annotated[Literal[1, 2], Meta(description="1: HTTP/1.1; 2: HTTP/2.")] = 1

    def prepare(self) -> None:
        """See that HTTP/2 is there; raises `Unable`."""
        super().prepare()
        if self.version == 2:
            try:
                import h2  # noqa: F401
            except ImportError as err:
                raise Unable("HTTP/2 needs the package h2; install xlvs[http2], or leave out version: 2") from err

    async def ask(self, stream: Lines, target: Target) -> Reply:
        """Send the request and return the answer; raises `Failed`."""
        host = self.host or (target.host if target.port in (80, 443) else f"{target.host}:{target.port}")
        if self.version == 2:
            from xlvs.health.parts import http2

            return await http2.ask(stream, self.method, self.path, self.all_headers(host), self.body.encode())
        return await self.exchange(stream, self.path, host)


async def _exchange(stream: Lines, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Reply:
    import h11

    connection = h11.Connection(h11.CLIENT)
    sent = connection.send(h11.Request(method=method, target=path, headers=headers)) or b""
    sent += (connection.send(h11.Data(data=body)) or b"") if body else b""
    stream.writer.write(sent + (connection.send(h11.EndOfMessage()) or b""))
    reply, parts, size = Reply(0), [], 0
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                data = await stream.reader.read(1 << 16)
                if not data and not reply.status:
                    raise Failed("the server hung up without an answer")
                connection.receive_data(data)
            elif isinstance(event, h11.Response):
                reply.status = event.status_code
                reply.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
            if isinstance(event, (h11.EndOfMessage, h11.ConnectionClosed)) or size >= MOST:
                break
    except h11.RemoteProtocolError as err:
        raise Failed(f"it does not speak HTTP: {err}") from err
    reply.body = b"".join(parts)[:MOST]
    return reply


@lru_cache(256)
def ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Return the ranges of ``200-299,404``; raises `InvalidError`."""
    found = []
    for part in text.replace(" ", "").split(","):
        match = _STATUS.fullmatch(part)
        if match is None:
            raise InvalidError(f"{part!r} is no status or range of them; write 200, 200-299, or 200-299,404")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


@lru_cache(256)
def expression(text: str) -> re.Pattern[str]:
    """Return the regular expression; raises `InvalidError`."""
    try:
        return re.compile(text, re.MULTILINE)
    except re.error as err:
        raise InvalidError(f"{text!r} is no regular expression: {err}") from err
