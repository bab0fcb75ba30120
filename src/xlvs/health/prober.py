"""Makes probes when they are due: one for each distinct question, whoever asked it.

Each question has a task that sleeps, asks and tells.  A probe never overlaps with the one before; one that takes longer
than its timeout is ended and counts as a failure.  First probes are spread over an interval, so that a thousand
servers are not asked at once.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from xlvs.health.check import Answer, Check, Failed, Target, Unable

Tell = Callable[["Question", str, int | None], None]
"""Told a question, why the answer was no good one (empty: it was), and the weight that the server asked for."""

_AT_ONCE = 64
"""So many questions begin without waiting: the few of a small director are known at once."""


class Question(NamedTuple):
    """A check, by its plain values as JSON, and where it goes: what is the same is asked once."""

    check: bytes
    address: str
    port: int


def question(check: Check, address: str, port: int) -> Question:
    """Return the question that the check is to a server at this address and port."""
    return Question(msgspec.json.encode(check, order="deterministic"), check.address or address, check.port or port)


class Prober:
    """Asks what is wanted, and calls *tell* after each answer; on the running loop."""

    def __init__(self, tell: Tell, *, chance: random.Random | None = None) -> None:
        self._tell = tell
        self._chance = chance or random.Random()
        self._tasks: dict[Question, asyncio.Task[None]] = {}
        self.asked = 0

    def want(self, questions: Iterable[tuple[Question, Check]]) -> None:
        """Ask these from now on, and no others; those that are asked already go on undisturbed."""
        wanted = dict(questions)
        for gone in self._tasks.keys() - wanted.keys():
            self._tasks.pop(gone).cancel()
        fresh = [(one, check) for one, check in wanted.items() if one not in self._tasks]
        loop = asyncio.get_running_loop()
        for number, (one, check) in enumerate(fresh):
            wait = self._chance.uniform(0, check.interval_s) if number >= _AT_ONCE else 0
            self._tasks[one] = loop.create_task(self._ask(one, check, wait))

    async def stop(self) -> None:
        """Ask nothing any more, and wait until all sockets are closed."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask(self, one: Question, check: Check, wait: float) -> None:
        interval, jitter = check.interval_s, check.jitter
        target = Target(one.address, one.port)
        loop = asyncio.get_running_loop()
        due = loop.time() + wait
        while True:
            await asyncio.sleep(due - loop.time())
            why, weight = await once(check, target)
            self.asked += 1
            self._tell(one, why, weight)
            # By the clock, not by the answer: a slow server is asked as often as a fast one.
            due = max(due + interval * (1 + self._chance.uniform(-jitter, jitter)), loop.time())


async def once(check: Check, target: Target) -> tuple[str, int | None]:
    """Ask once; return why the answer is no good one, empty if it is, and the weight that the server asks for."""
    try:
        async with asyncio.timeout(check.timeout_s):
            answer: Answer | None = await check.probe(target)
    except TimeoutError:
        return f"no answer within {check.timeout_s:g} s", None
    except (Failed, Unable) as err:
        return str(err), None
    except ssl.SSLError as err:
        return f"TLS failed: {err.reason or err}", None
    except OSError as err:
        return err.strerror or str(err), None
    except Exception as err:  # a library's own: a check must not end because of what a server says
        return f"{type(err).__name__}: {err}", None
    return "", answer.weight if answer else None
