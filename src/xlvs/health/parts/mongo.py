"""One question to MongoDB, by pymongo; loaded with its library when it is first needed."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from pymongo import AsyncMongoClient, errors, monitoring

from xlvs.health.check import Failed, Target

ERRORS = (errors.PyMongoError, errors.InvalidOperation)
_TIMEOUTS = re.compile(r" ?\(configured timeouts:[^)]*\)")


class _Listener(monitoring.ServerHeartbeatListener):
    """Says why the server cannot be talked to; the client itself would try again until its time is over."""

    def __init__(self, failed: asyncio.Future[None], place: str) -> None:
        self._failed = failed
        self._place = place

    def started(self, event: monitoring.ServerHeartbeatStartedEvent) -> None:
        """Nothing is known yet."""

    def succeeded(self, event: monitoring.ServerHeartbeatSucceededEvent) -> None:
        """The question itself will be answered."""

    def failed(self, event: monitoring.ServerHeartbeatFailedEvent) -> None:
        """Give up."""
        if not self._failed.done():
            text = _TIMEOUTS.sub("", str(event.reply)).replace(f"{self._place}: ", "")
            self._failed.set_exception(Failed(text))


async def hello(target: Target, timeout_s: float, options: dict[str, Any]) -> dict[str, Any]:
    """Return what the server says of itself; raises `Failed` or errors of pymongo."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        target.host,
        target.port,
        directConnection=True,
        serverMonitoringMode="poll",
        retryReads=False,
        appname="xlvs",
        connectTimeoutMS=int(timeout_s * 1000) + 1,
        serverSelectionTimeoutMS=int(timeout_s * 1000) + 1,
        event_listeners=[_Listener(failed, f"{target.address}:{target.port}")],
        **options,
    )
    asked = asyncio.ensure_future(client.admin.command("hello"))
    waiting: set[asyncio.Future[Any]] = {asked, failed}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            failed.result()
        return await asked
    finally:
        failed.cancel()
        asked.cancel()
        await client.close()
        # A cancellation is lost in asyncio.wait_for when it comes with the news that it waits for (Python 3.11).
        asked.cancel()
        await asyncio.gather(asked, failed, return_exceptions=True)
