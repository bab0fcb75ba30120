"""Wait for a condition; nothing in the demonstration or its tests sleeps for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

from xlvs.errors import HostError

INTERVAL_S = 0.02


def until(condition: Callable[[], bool], otherwise: str, timeout_s: float = 60.0) -> None:
    """Return when *condition* holds.  Raises `HostError` with the sentence *otherwise* after *timeout_s* seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise HostError(f"{otherwise} within {timeout_s:g} s")
        time.sleep(INTERVAL_S)
