"""Who watches: every change is told to all of them, as server-sent events (WHATWG HTML §9.2).

A watcher that does not read is dropped when its queue is full, so that nobody
waits for it and its share of memory stays small.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from xlvs.daemon.log import log

QUEUE = 256
"""Events that a watcher may be behind."""


class Watchers:
    """The open streams; after *heartbeat_s* seconds of silence a comment shows that the daemon is still there."""

    def __init__(self, heartbeat_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._over = False

    def __len__(self) -> int:
        return len(self._queues)

    def publish(self, event: bytes) -> None:
        """Send an *event* to all; one that is too far behind is sent nothing any more."""
        for queue in list(self._queues):
            if queue.full():
                self._end(queue)
                log("a watcher does not read and is dropped")
            else:
                queue.put_nowait(event)

    def close(self) -> None:
        """End all streams, and those that begin from now on."""
        self._over = True
        for queue in list(self._queues):
            self._end(queue)

    def stream(self, first: bytes) -> AsyncIterator[bytes]:
        """Return *first*, then the events from now on as they come, until the end."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE)
        if self._over:
            queue.put_nowait(None)
        else:
            self._queues.add(queue)
        return self._events(first, queue)

    async def _events(self, first: bytes, queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
        try:
            yield first
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), self._heartbeat_s)
                except TimeoutError:
                    event = b": still here\n\n"
                if event is None:
                    return
                yield event
        finally:
            self._queues.discard(queue)

    def _end(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queues.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)


def encode(name: str, number: int, data: bytes) -> bytes:
    """Return an event; *data* is JSON without line feeds."""
    return b"event: %s\nid: %d\ndata: %s\n\n" % (name.encode(), number, data)
