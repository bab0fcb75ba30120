"""twos: the better of two."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.unit.sched.service import CLIENT, entries, model
from xlvs import sched


@pytest.mark.parametrize(
    ("draws", "overheads", "expected"),
    [
        ((0, 6), (2, 4, 9), 1),  # 2 / 1 and 9 / 3
        ((1, 2), (5, 4, 9), 2),
        ((2, 1), (5, 4, 9), 2),
        ((3, 4), (5, 4, 6), 2),  # equal: the first that was drawn
        ((4, 3), (5, 4, 6), 3),
        ((6, 6), (5, 4, 6), 3),
    ],
)
def test_takes_the_less_loaded_of_the_two_drawn(
    draws: tuple[int, int], overheads: tuple[int, ...], expected: int
) -> None:
    """A draw up to its weight, beginning with 0, is the newest server's; then come the others."""
    drawn = iter(draws)
    ask = sched.Ask(CLIENT, 1024, lambda number: sched.Load(0, overheads[number - 1]), draw=lambda end: next(drawn))
    assert model("twos", entries(1, 2, 3)).choose(ask) == expected


def test_draws_are_between_0_and_the_sum_of_the_weights_of_who_may_be_drawn() -> None:
    """Both ends are included; neither weight 0 nor an overloaded server adds to it."""
    ends = []
    loads = {2: sched.Load(overloaded=True)}

    def draw(end: int) -> int:
        ends.append(end)
        return end - 1

    ask = sched.Ask(CLIENT, 1024, lambda number: loads.get(number, sched.Load()), draw=draw)
    assert model("twos", entries(4, 8, 0, 2)).choose(ask) == 4
    assert ends == [7, 7]


def test_shares_are_those_of_a_real_ipvs() -> None:
    """Without loads a server gets its weight's share, the newest one more: 123 133 112 232 of 600, oldest first."""
    chance = random.Random(1)
    service = model("twos", entries(1, 1, 1, 1))
    ask = sched.Ask(CLIENT, 1024, draw=chance.randrange)
    counts = Counter(service.choose(ask) for _ in range(6000))
    for number, captured in zip((4, 3, 2, 1), (123, 133, 112, 232), strict=True):
        assert abs(counts[number] / 6000 - captured / 600) < 0.05


def test_open_connections_even_out() -> None:
    """When none ends, the servers' loads are as their weights."""
    chance = random.Random(2)
    loads = Counter[int | None]()
    service = model("twos", entries(3, 2, 1))
    for _ in range(600):
        loads[service.choose(sched.Ask(CLIENT, 1, lambda n: sched.Load(loads[n]), draw=chance.randrange))] += 1
    assert all(abs(loads[number] - 600 * weight / 6) < 12 for number, weight in ((1, 3), (2, 2), (3, 1)))


def test_nobody_is_drawn_where_nobody_can_be() -> None:
    """Weight 0 alone, and no server at all, refuse the flow without a draw."""

    def never(end: int) -> int:
        raise AssertionError(f"a draw below {end}")

    for servers in ([], entries(0, 0)):
        assert model("twos", servers).choose(sched.Ask(CLIENT, 1024, draw=never)) is None
