"""wrr: weighted round robin."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.sched.service import choices, entries, model, slots
from xlvs import sched
from xlvs.sched import wrr


@pytest.mark.parametrize(
    ("weights", "max_weight", "gcd"),
    [
        ([], 0, 1),
        ([0, 0], 0, 1),
        ([1, 2, 3], 3, 1),
        ([4, 0, 6, 8], 7, 2),
        ([10], 1, 10),
        ([65535, 65535], 1, 65535),
    ],
)
def test_parameters(weights: list[int], max_weight: int, gcd: int) -> None:
    """The divisor leaves out weights of 0, and the last round is always at current weight 1."""
    assert wrr.parameters(weights) == (max_weight, gcd)


def test_heavy_servers_come_first_and_more_often() -> None:
    """Rounds go from the largest weight down to the smallest, then begin again."""
    assert choices(model("wrr", entries(1, 2, 3)), 12) == [3, 2, 3, 1, 2, 3] * 2


def test_shares_are_the_weights() -> None:
    """Over whole cycles each server gets exactly its weight."""
    assert Counter(choices(model("wrr", entries(4, 0, 6, 10)), 40)) == {1: 8, 3: 12, 4: 20}


@pytest.mark.parametrize("weights", [(), (0,), (0, 0, 0)])
def test_refuses_when_no_server_has_a_weight(weights: tuple[int, ...]) -> None:
    """With nobody to take it the flow is refused."""
    assert choices(model("wrr", entries(*weights)), 2) == [None, None]


def test_comes_back_from_all_zero() -> None:
    """Once the servers have weights again, flows go to them."""
    service = model("wrr", entries(0, 0))
    assert choices(service, 1) == [None]
    service.change(entries(2, 1))
    assert choices(service, 3) == [1, 1, 2]


@pytest.mark.parametrize(
    ("cw", "new", "expected"),
    [
        (2, (1, 2, 3), 2),
        (3, (1, 2), 2),
        (0, (1, 2), 2),
        (3, (4, 8), 1),
        (5, (4, 8), 5),
        (4, (4, 8, 2), 5),
    ],
)
def test_current_weight_is_kept_if_it_fits(cw: int, new: tuple[int, ...], expected: int) -> None:
    """A change begins a round anew; cw falls to the top if it is above, or to a step of the divisor plus 1."""
    assert wrr.carry(sched.State(1, cw), slots(9), slots(*new)) == (sched.HEAD, expected)


def test_the_same_servers_keep_their_state() -> None:
    """An edit that leaves the servers as they are does not begin a round anew."""
    assert wrr.carry(sched.State(1, 2), slots(1, 3), slots(1, 3)) == (1, 2)


def test_a_service_that_changes_to_wrr_begins_at_the_top() -> None:
    """The first round takes the heaviest only."""
    assert wrr.start([4, 8]) == (sched.HEAD, 5)
