"""lc: least connections."""

from __future__ import annotations

import pytest

from tests.unit.sched.service import CLIENT, entries, model
from xlvs import sched


@pytest.mark.parametrize(
    ("weights", "overheads", "expected"),
    [
        ((1, 1, 1), (5, 4, 6), 2),
        ((1, 1, 1), (5, 4, 4), 2),
        ((1, 60000, 1), (5, 6, 7), 1),
        ((0, 1, 1), (0, 9, 8), 3),
        ((0, 0), (0, 0), None),
        ((), (), None),
    ],
)
def test_takes_the_least_loaded(weights: tuple[int, ...], overheads: tuple[int, ...], expected: int | None) -> None:
    """The least overhead wins, the newest of equals; a weight counts only in being 0."""
    ask = sched.Ask(CLIENT, 1024, lambda number: sched.Load(0, overheads[number - 1]))
    assert model("lc", entries(*weights)).choose(ask) == expected
