"""Connections that stand clients which are broken, slow or gone.

uvicorn gives up on a connection that is silent between two requests, and on
nothing else.  Here nobody may take for ever: neither over the first request,
nor over a body, nor over reading an answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import msgspec
from litestar.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from xlvs.daemon.api import problems
from xlvs.daemon.api.problems import MEDIA_TYPE, ClientGone, TooSlow


class Patience(msgspec.Struct, frozen=True):
    """How long clients may take, in seconds.

    *idle_s*: until the head of the next request is there; *body_s*: until its
    body is; *stall_s*: to read any part of an answer that does not fit into the socket.  *heartbeat_s* is how
    long we leave a watcher without a sign of life.
    """

    idle_s: float = 75.0
    body_s: float = 60.0
    stall_s: float = 30.0
    heartbeat_s: float = 15.0


class Connection(H11Protocol):
    """A connection that ends when its client takes too long."""

    patience = Patience()
    _stall: asyncio.TimerHandle | None = None
    _unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request as for every other."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._unset_keepalive_if_required()
        self._end_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what was received; bytes that make no whole request gain no time (H11Protocol's would)."""
        self.conn.receive_data(data)
        self.handle_events()

    def timeout_keep_alive_handler(self) -> None:
        """Hang up, unless the last answer is still being read, which `_check_reader` looks after."""
        if self._stall is not None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Begin to watch a client that does not read as fast as we write."""
        super().pause_writing()
        self._end_stall()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Stop watching: it reads."""
        super().resume_writing()
        self._end_stall()

    def abandon(self) -> None:
        """Hang up on a request that is not whole yet: nobody will wait for the rest."""
        if self.cycle is not None and self.cycle.more_body and not self.cycle.response_started:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem document, if it can be answered, and hang up."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = msgspec.json.encode(problems.problem(400, "invalid", "this is no HTTP/1.1 request"))
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"connection", b"close")]
        headers.append((b"content-length", b"%d" % len(body)))
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch_reader(self) -> None:
        self._unread = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(self.patience.stall_s, self._check_reader)

    def _check_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread:
            self._watch_reader()
        else:
            self.transport.abort()

    def _end_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


def connection_class(patience: Patience) -> type[Connection]:
    """Return the connections that have this *patience*: uvicorn makes them from a class."""
    return type("Connection", (Connection,), {"patience": patience})


def hurried(app: ASGIApp, body_s: float) -> ASGIApp:
    """Return *app*, whose requests end in `TooSlow` if their body is not there *body_s* after their head.

    One whose client hangs up before that ends in `ClientGone`.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        deadline = asyncio.get_running_loop().time() + body_s
        whole = False

        async def receive_in_time() -> Any:
            nonlocal whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message: Any = await receive()
            except TimeoutError:
                raise TooSlow from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            whole = not message.get("more_body", False)
            return message

        await app(scope, receive_in_time, send)

    return call
