"""sed: shortest expected delay, and nq: never queue."""

from __future__ import annotations

import pytest

from tests.unit.sched.service import CLIENT, entries, model
from xlvs import sched

CASES = [
    ((1, 1, 1), (5, 4, 4), 2, 2),
    ((1, 2, 1), (0, 0, 0), 2, 1),  # 1 / 2 is the least; but the first is idle, too
    ((1, 4, 1), (1, 3, 0), 2, 3),  # 4 / 4 and 1 / 1 are equal; but the third is idle
    ((1, 3, 1), (1, 3, 1), 2, 2),
    ((0, 1, 2), (0, 9, 8), 3, 3),
    ((0, 0), (0, 0), None, None),
    ((), (), None, None),
]


@pytest.mark.parametrize(("weights", "actives", "by_sed", "by_nq"), CASES)
def test_takes_where_the_connection_waits_least(
    weights: tuple[int, ...], actives: tuple[int, ...], by_sed: int | None, by_nq: int | None
) -> None:
    """(active + 1) / weight decides, for nq only where nobody is idle; inactive connections count nothing."""
    ask = sched.Ask(CLIENT, 1024, lambda number: sched.Load(actives[number - 1], 1000 * number))
    assert model("sed", entries(*weights)).choose(ask) == by_sed
    assert model("nq", entries(*weights)).choose(ask) == by_nq
