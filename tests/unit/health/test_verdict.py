"""When a server is up: rise, fall, what is known at first, and several checks together."""

from __future__ import annotations

import pytest

from xlvs.health.verdict import Verdict, together


def told(answers: str, *, rise: int = 2, fall: int = 3) -> list[bool | None]:
    """Return whether the server was up after each answer, ``+`` a good one, ``-`` a failure."""
    verdict, found = Verdict(), []
    for now, answer in enumerate(answers):
        verdict = verdict.after("" if answer == "+" else "no", None, now, rise=rise, fall=fall)
        found.append(verdict.up)
    return found


@pytest.mark.parametrize(
    ("answers", "up"),
    [
        ("+", [True]),
        ("---", [None, None, False]),
        ("--+", [None, None, True]),
        ("+--+---", [True, True, True, True, True, True, False]),
        ("+---+-++", [True, True, True, False, False, False, False, True]),
    ],
)
def test_rise_and_fall(answers: str, up: list[bool | None]) -> None:
    """So many in a row; one of the other kind begins anew."""
    assert told(answers) == up


def test_one_is_enough_where_that_is_said() -> None:
    """rise and fall of 1 follow every answer."""
    assert told("+-+-", rise=1, fall=1) == [True, False, True, False]


def test_when_and_why_are_kept() -> None:
    """Since when it is so, and what the last failure was; a good answer clears it."""
    verdict = Verdict().after("", 7, 10.0, rise=1, fall=2)
    assert verdict == Verdict(True, 0, 10.0, "", 7)
    verdict = verdict.after("refused", None, 11.0, rise=1, fall=2)
    assert (verdict.up, verdict.since, verdict.why, verdict.weight) == (True, 10.0, "refused", 7)
    verdict = verdict.after("refused", None, 12.0, rise=1, fall=2)
    assert verdict == Verdict(False, 0, 12.0, "refused", None)


def test_all_checks_must_be_good() -> None:
    """One that fails is enough to be down; the least weight is asked for."""
    good, bad, new = Verdict(True, 0, 5.0, "", 3), Verdict(False, 0, 9.0, "refused"), Verdict()
    assert together([], alpha=True).up is True
    assert together([good, good._replace(weight=9)], alpha=False) == Verdict(True, 0, 5.0, "", 3)
    assert together([good, bad], alpha=False) == Verdict(False, 0, 9.0, "refused")
    assert together([good, new], alpha=False).up is None
    assert together([bad, new], alpha=False).up is False


def test_nothing_known_is_told_apart() -> None:
    """Neither up nor down: what becomes of it alpha says."""
    assert together([Verdict()], alpha=False) == Verdict(None, 0, 0.0, "")
    assert together([Verdict()], alpha=True) == Verdict(None, 0, 0.0, "no answer yet")
