"""Peers that say what a test tells them, for answers that no real server gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from tests.servers.asking import opened, verdict
from xlvs.health import Target, parse

LOCALHOST = "127.0.0.1"
TURNS = 10_000
"""Of the loop, for both sides to close."""


def ask_lines(options: dict[str, Any], *answers: str) -> str:
    """Ask a peer that says the first answer at once, each other one after a line of ours, and then hangs up."""
    return ask_stream(options, [answer.encode() for answer in answers])


def ask_stream(options: dict[str, Any], answers: Sequence[bytes], until: bytes = b"\n") -> str:
    """The same with bytes, each answer but the first after *until* was heard, or anything if that is empty."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for number, answer in enumerate(answers):
                if number:
                    await (reader.readuntil(until) if until else reader.read(1 << 16))
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the check has heard enough
        finally:
            writer.close()

    async def run() -> str:
        before = opened()
        async with await asyncio.start_server(serve, LOCALHOST, 0, limit=1 << 22) as server:
            port = server.sockets[0].getsockname()[1]
            found = await verdict(_check(options), Target(LOCALHOST, port))
        for _ in range(TURNS):
            if opened() == before:
                return found
            await asyncio.sleep(0)
        raise AssertionError(f"the probe left {opened() - before} open")

    return asyncio.run(run())


def ask_datagrams(options: dict[str, Any], answer: Callable[[bytes], Sequence[bytes]]) -> str:
    """Ask a peer that sends the datagrams that *answer* makes of ours."""

    class Peer(asyncio.DatagramProtocol):
        transport: asyncio.DatagramTransport

        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            for one in answer(data):
                self.transport.sendto(one, addr)

    async def run() -> str:
        transport, _peer = await asyncio.get_running_loop().create_datagram_endpoint(Peer, (LOCALHOST, 0))
        try:
            port = transport.get_extra_info("sockname")[1]
            return await verdict(_check(options), Target(LOCALHOST, port))
        finally:
            transport.close()

    return asyncio.run(run())


def _check(options: dict[str, Any]) -> Any:
    return parse({"timeout": 30, "interval": 30} | options)
