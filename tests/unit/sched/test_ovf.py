"""fo: weighted fail-over, and ovf: weighted overflow."""

from __future__ import annotations

import pytest

from tests.unit.sched.service import CLIENT, entries, model
from xlvs import sched


@pytest.mark.parametrize(
    ("weights", "actives", "by_fo", "by_ovf"),
    [
        ((1, 3, 2), (0, 0, 0), 2, 2),
        ((1, 3, 2), (0, 3, 0), 2, 2),
        ((1, 3, 2), (0, 4, 0), 2, 3),
        ((1, 3, 2), (0, 4, 3), 2, 1),
        ((1, 3, 2), (2, 4, 3), 2, None),
        ((2, 2, 2), (9, 0, 0), 1, 2),
        ((0, 0), (0, 0), None, None),
        ((), (), None, None),
    ],
)
def test_takes_the_heaviest(
    weights: tuple[int, ...], actives: tuple[int, ...], by_fo: int | None, by_ovf: int | None
) -> None:
    """The newest of the largest weight, for ovf only with no more active connections than that."""
    ask = sched.Ask(CLIENT, 1024, lambda number: sched.Load(actives[number - 1], 1000))
    assert model("fo", entries(*weights)).choose(ask) == by_fo
    assert model("ovf", entries(*weights)).choose(ask) == by_ovf
