"""The unix socket that the API is served on, by uvicorn within the daemon's own loop.

For root alone.  uvicorn handles no signals here and writes no log; whatever a
client does, the others are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import traceback
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from litestar.types import ASGIApp, Receive, Scope, Send

from xlvs.daemon import api
from xlvs.daemon.api.connection import Connection, Patience, connection_class, hurried
from xlvs.health.checker import Event

_BACKLOG = 512
_GRACE_S = 1


class Server:
    """Serves a *director* on the socket *path*; *patience* is how long clients may take."""

    def __init__(
        self, path: Path, director: api.Director, *, patience: Patience | None = None, max_body: int = api.MAX_BODY
    ) -> None:
        patience = patience or Patience()
        self._path = path
        self._watchers = api.Watchers(patience.heartbeat_s)
        app = api.make(director, self._watchers, max_body=max_body)
        config = uvicorn.Config(
            _guarded(hurried(app, patience.body_s)),
            interface="asgi3",
            http=connection_class(patience),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=patience.idle_s,  # type: ignore[arg-type]
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._uvicorn = _Uvicorn(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen, readable and writable for root alone."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        old = os.umask(0o177)
        try:
            listener.bind(str(self._path))
        finally:
            os.umask(old)
        listener.listen(_BACKLOG)
        self._task = asyncio.create_task(self._uvicorn.serve(sockets=[listener]))
        while not self._uvicorn.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop listening, give answers under way a second, and hang up."""
        self._watchers.close()
        self._path.unlink(missing_ok=True)
        for connection in list(self._uvicorn.server_state.connections):
            if isinstance(connection, Connection):
                connection.abandon()
        self._uvicorn.over.set()
        if self._task:
            await self._task
        for connection in list(self._uvicorn.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*self._uvicorn.server_state.tasks, return_exceptions=True)

    def publish(self, change: api.Change) -> None:
        """Tell the watchers of a *change* that was not made through the API."""
        api.publish(self._watchers, change)

    def tell(self, event: Event, generation: int) -> None:
        """Tell the watchers what happened to a server, in the state of *generation*."""
        api.tell(self._watchers, event, generation)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers, which the daemon has, and without its ten wake-ups a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.over = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self.on_tick(0)
        await self.over.wait()


def _guarded(app: ASGIApp) -> ASGIApp:
    """Return *app*, whose failures in the midst of an answer are in our log, and not in uvicorn's."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except Exception:
            traceback.print_exc()

    return call
