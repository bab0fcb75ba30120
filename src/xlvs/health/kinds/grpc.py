"""grpc: the standard health service says that a service is serving.

grpc.health.v1.Health/Check (gRPC Health Checking Protocol, and gRPC over HTTP/2 for what is on the wire).  A request
is one text and an answer one number, so that h2 is all it takes; gRPC's own library cannot be told to look at a
certificate and not verify it.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Check, Failed, Target
from xlvs.health.parts import drivers, net
from xlvs.health.parts.request import Reply
from xlvs.health.parts.tls import Tls

_PATH = "/grpc.health.v1.Health/Check"
_STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
_NOT_FOUND = "5"
_UNIMPLEMENTED = "12"


class Grpc(Check, frozen=True, kw_only=True, tag="grpc"):
    """The standard health service says that a service is serving."""

    service: Annotated[
        str, Meta(max_length=100, description="The service that is asked about; empty: the server as a whole.")
    ] = ""
    tls: Annotated[Tls | None, Meta(description="Speak within TLS, and hold the certificate to this.")] = None

    def prepare(self) -> None:
        """See that the library is there, and the files can be read; raises `Unable`."""
        super().prepare()
        drivers.library("h2", "grpc")
        if self.tls:
            self.tls.context("h2")

    async def probe(self, target: Target) -> Answer | None:
        """Ask once."""
        from xlvs.health.parts import http2

        name = self.service.encode()
        message = (
            b"\x0a%c%s" % (len(name), name) if name else b""
        )  # field 1, a text; 127 bytes at most have one of length
        headers = [
            ("host", f"{target.host}:{target.port}"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "xlvs"),
        ]
        async with self._stream(target) as stream:
            if self.tls:
                self.tls.look_at(stream.writer.get_extra_info("ssl_object"))
            self.judge(await http2.ask(stream, "POST", _PATH, headers, b"\0" + len(message).to_bytes(4) + message))
        return None

    def _stream(self, target: Target) -> contextlib.AbstractAsyncContextManager[net.Lines]:
        if self.tls is None:
            return net.stream(target)
        return net.stream(target, self.tls.context("h2"), self.tls.sni)

    def judge(self, reply: Reply) -> None:
        """See that the answer is SERVING; raises `Failed`."""
        headers = dict(reply.headers)
        status = headers.get("grpc-status", "")
        if reply.status != 200 or not status:
            raise Failed(f"it does not speak gRPC, but answers with HTTP status {reply.status}")
        if status == _NOT_FOUND:
            raise Failed(f"its health service does not know the service {self.service!r}")
        if status == _UNIMPLEMENTED:
            raise Failed("it has no health service")
        if status != "0":
            raise Failed(f"gRPC status {status}: {urllib.parse.unquote(headers.get('grpc-message', ''))[:120]}")
        if (state := _state(reply.body)) != "SERVING":
            raise Failed(f"it is {state}")


def _state(body: bytes) -> str:
    """Return the state in a HealthCheckResponse, whose field 1 is a number; raises `Failed`."""
    message = body[5:]  # a byte for compression, none of which we offered, and four of length
    if not body or body[0] or (message and (len(message) != 2 or message[0] != 0x08)):
        raise Failed("its answer is none of a health service")
    number = message[1] if message else 0
    return _STATES[number] if number < len(_STATES) else str(number)


CHECK = Grpc
