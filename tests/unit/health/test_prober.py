"""Probes: each question once, when it is due, and its end by timeout or cancellation."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from xlvs.health import Answer, Check, Failed, Target
from xlvs.health.prober import Prober, Question, once, question


class Scripted(Check, frozen=True, tag="scripted"):
    """Does what `path` says."""

    path: str = ""

    async def probe(self, target: Target) -> Answer | None:
        """Answer, fail, hang, or break."""
        match self.path:
            case "weight":
                return Answer(7)
            case "fail":
                raise Failed("it is not well")
            case "refuse":
                raise ConnectionRefusedError(111, "Connection refused")
            case "hang":
                await asyncio.sleep(3600)
            case "break":
                raise KeyError("surprise")
        return None


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("", ("", None)),
        ("weight", ("", 7)),
        ("fail", ("it is not well", None)),
        ("refuse", ("Connection refused", None)),
        ("hang", ("no answer within 0.05 s", None)),
        ("break", ("KeyError: 'surprise'", None)),
    ],
)
def test_what_an_answer_says(path: str, told: tuple[str, int | None]) -> None:
    """One sentence for whatever happens."""
    assert asyncio.run(once(Scripted(path=path, timeout=0.05), Target("127.0.0.1", 1))) == told


def test_the_same_question_is_one() -> None:
    """However it is written; another address, port or option makes another."""
    one = question(Scripted(interval="2s"), "10.0.0.1", 80)
    assert question(Scripted(interval="2s"), "10.0.0.1", 80) == one
    assert question(Scripted(interval="2s", port=80), "10.0.0.1", 80) != one
    assert question(Scripted(address="10.0.0.2"), "10.0.0.1", 80).address == "10.0.0.2"
    assert len({one, question(Scripted(), "10.0.0.1", 81), question(Scripted(path="x"), "10.0.0.1", 80)}) == 3


def test_questions_are_asked_again_and_again_until_they_are_not_wanted() -> None:
    """Those that stay are not disturbed, those that go are cancelled."""

    async def run() -> Counter[int]:
        told: Counter[int] = Counter()
        enough = asyncio.Event()

        def tell(one: Question, why: str, weight: int | None) -> None:
            told[one.port] += 1
            if told[2] >= 5:
                enough.set()

        prober = Prober(tell)
        checks = [
            (question(c, "127.0.0.1", port), c) for port in (1, 2) for c in [Scripted(interval=0.01, timeout=0.05)]
        ]
        prober.want(checks)
        while not told[1]:
            await asyncio.sleep(0)
        prober.want(checks[1:])
        seen = told[1]
        await enough.wait()
        assert told[1] == seen
        await prober.stop()
        assert len(asyncio.all_tasks()) == 1
        return told

    assert asyncio.run(run())[2] >= 5
