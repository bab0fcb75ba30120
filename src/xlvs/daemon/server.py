"""The unix socket: one JSON object per line in, one per line out.

Requests are answered in the order in which they are read.  A client can be
broken, slow or gone: it gets an error, or loses its connection, and nobody
else notices.  No traceback ever reaches a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from xlvs.daemon.log import log
from xlvs.errors import InvalidError, XlvsError

MAX_LINE = 1 << 20
_WRITE_TIMEOUT_S = 30

Answer = Callable[[dict[str, Any]], Awaitable[Any]]


class Server:
    """Listens on *path* and asks *answer* for the result of each request."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Begin to listen, readable and writable for root alone."""
        self._path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, self._path, limit=MAX_LINE, backlog=128)
        finally:
            os.umask(old)

    async def stop(self) -> None:
        """Stop listening and hang up."""
        if self._server:
            self._server.close()
        for writer in list(self._clients):
            writer.close()
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, TimeoutError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._clients.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether there may be more."""
        try:
            line = await reader.readline()
            if not line.endswith(b"\n"):
                return False
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as err:  # too long a line is a ValueError as well
            await self._send(writer, _failure(InvalidError(f"a request is one JSON object on one line, 1 MiB: {err}")))
            return False
        await self._send(writer, await self._result(request))
        return True

    async def _result(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"ok": True, "result": await self._answer(request)}
        except XlvsError as err:
            return _failure(err)
        except Exception as err:
            traceback.print_exc()
            return _failure(XlvsError(f"the daemon failed over this request ({type(err).__name__}); see its log"))

    async def _send(self, writer: asyncio.StreamWriter, reply: dict[str, Any]) -> None:
        writer.write(json.dumps(reply, separators=(",", ":")).encode() + b"\n")
        await asyncio.wait_for(writer.drain(), _WRITE_TIMEOUT_S)


def _failure(err: XlvsError) -> dict[str, Any]:
    if err.code != "invalid":
        log("request refused", code=err.code, why=err)
    return {"ok": False, "error": {"code": err.code, "message": str(err)}}
