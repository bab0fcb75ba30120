"""Sockets for probes: connected, non-blocking, and gone without a trace when they are closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator

from xlvs.health.check import Failed, Target

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: close() sends a reset (socket(7))."""
LONGEST_LINE = 1 << 16


async def connect(target: Target) -> socket.socket:
    """Return a TCP socket that is connected; raises `OSError`."""
    sock = socket.socket(socket.AF_INET6 if ":" in target.address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        await asyncio.get_running_loop().sock_connect(sock, (target.address, target.port))
    except BaseException:
        sock.close()
        raise
    return sock


class Lines:
    """A connection whose two sides speak in lines, as SMTP, POP, IMAP and FTP do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> str:
        """Return the next line, without its end; raises `Failed` if the server hangs up or never ends it."""
        try:
            text = await self.reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as err:
            raise Failed("the server hung up") from err
        except asyncio.LimitOverrunError as err:
            raise Failed(f"the server sent a line of more than {LONGEST_LINE} bytes") from err
        return text.rstrip(b"\r\n").decode("utf-8", "replace")

    async def exactly(self, count: int) -> bytes:
        """Return the next *count* bytes; raises `Failed` if the server hangs up before."""
        try:
            return await self.reader.readexactly(count)
        except asyncio.IncompleteReadError as err:
            raise Failed("the server hung up") from err

    async def say(self, text: str) -> None:
        """Send a line."""
        self.writer.write(text.encode() + b"\r\n")
        await self.writer.drain()

    async def start_tls(self, context: ssl.SSLContext, name: str) -> None:
        """Go on within TLS; raises `Failed` or `OSError`."""
        with _handshake():
            await self.writer.start_tls(context, server_hostname=name)


@contextlib.contextmanager
def _handshake() -> Iterator[None]:
    """Say that the server hung up in the middle of it, for which asyncio has no words."""
    try:
        yield
    except ConnectionError as err:
        if err.errno is not None:
            raise
        raise Failed("the server hung up when TLS was to begin") from err


@contextlib.asynccontextmanager
async def stream(target: Target, context: ssl.SSLContext | None = None, name: str = "") -> AsyncIterator[Lines]:
    """Give a connection, within TLS if there is a *context*, and reset it in the end; raises `Failed`, `OSError`."""
    sock = await connect(target)
    try:
        with _handshake():
            host = (name or target.address) if context else None
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=context, server_hostname=host, limit=LONGEST_LINE
            )
    except BaseException:
        sock.close()
        raise
    try:
        yield Lines(reader, writer)
    finally:
        writer.transport.abort()
