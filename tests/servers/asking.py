"""Ask a server once, as the prober would, and see that nothing stays open."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tests.servers.server import LOOPBACK
from xlvs.health import Check, Failed, Target, parse

UP = "up"
TIMED_OUT = "no answer in time"
PATIENT_S = 60
"""Far more than an answer takes on a busy machine; no test waits for it unless it fails."""
HASTY_S = 0.5


def ask(
    kind: str, port: int, options: dict[str, Any] | None = None, family: int = 4, timeout: float = PATIENT_S
) -> str:
    """Return "up", or why not."""
    return ask_at(LOOPBACK[family], kind, port, options, timeout)


def ask_at(
    address: str, kind: str, port: int = 0, options: dict[str, Any] | None = None, timeout: float = PATIENT_S
) -> str:
    """Return "up", or why not, of a server at *address*."""
    check = parse({"type": kind, "timeout": timeout, "interval": PATIENT_S, **(options or {})})
    check.prepare()

    async def probe() -> str:
        before = opened()
        try:
            return await verdict(check, Target(address, port, "server"))
        finally:
            for _ in range(3):  # transports close their sockets in a later turn of the loop
                await asyncio.sleep(0)
            left = opened() - before
            assert not left, f"the probe left {left} open"

    return asyncio.run(probe())


async def verdict(check: Check, target: Target) -> str:
    """Return "up", or why not."""
    try:
        async with asyncio.timeout(check.timeout_s):
            await check.probe(target)
    except Failed as err:
        return str(err)
    except TimeoutError:
        return TIMED_OUT
    except OSError as err:
        return f"{type(err).__name__}: {err}"
    return UP


def opened() -> set[str]:
    """Return the sockets that this process has open."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        if name.startswith("socket:"):
            found.add(name)
    return found
