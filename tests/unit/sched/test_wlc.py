"""wlc: weighted least connections."""

from __future__ import annotations

import pytest

from tests.unit.sched.service import CLIENT, entries, model
from xlvs import sched


@pytest.mark.parametrize(
    ("weights", "overheads", "expected"),
    [
        ((1, 1, 1), (5, 4, 6), 2),
        ((1, 2, 3), (1, 2, 3), 1),
        ((1, 2, 3), (1, 2, 2), 3),
        ((3, 2, 1), (0, 0, 0), 1),
        ((2, 3), (3, 4), 2),
        ((0, 1, 2), (0, 9, 9), 3),
        ((0, 0), (0, 0), None),
        ((), (), None),
    ],
)
def test_takes_the_least_loaded(weights: tuple[int, ...], overheads: tuple[int, ...], expected: int | None) -> None:
    """The least overhead / weight wins, without a remainder lost, the newest of equals."""
    ask = sched.Ask(CLIENT, 1024, lambda number: sched.Load(0, overheads[number - 1]))
    assert model("wlc", entries(*weights)).choose(ask) == expected
