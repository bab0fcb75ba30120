"""rr: round robin."""

from __future__ import annotations

import pytest

from tests.unit.sched.service import choices, entries, entry, model, slots
from xlvs import sched
from xlvs.sched import rr


def test_takes_every_server_in_turn_whatever_its_weight() -> None:
    """Weights other than 0 make no difference."""
    assert choices(model("rr", entries(1, 500, 3)), 7) == [1, 2, 3, 1, 2, 3, 1]


def test_passes_over_weight_zero() -> None:
    """A server of weight 0 takes no new flow."""
    assert choices(model("rr", entries(0, 1, 0, 1)), 4) == [2, 4, 2, 4]


def test_the_last_server_left_is_taken_again_and_again() -> None:
    """The walk goes once around, up to and including the last choice."""
    assert choices(model("rr", entries(0, 1, 0)), 3) == [2, 2, 2]


@pytest.mark.parametrize("weights", [(), (0,), (0, 0, 0)])
def test_refuses_when_no_server_has_a_weight(weights: tuple[int, ...]) -> None:
    """With nobody to take it the flow is refused, and the place stays."""
    assert choices(model("rr", entries(*weights)), 2) == [None, None]


@pytest.mark.parametrize(
    ("pos", "new", "expected"),
    [
        (1, [1, 2, 3], 1),
        (1, [9, 1, 2, 3], 2),
        (1, [1, 3], 0),
        (1, [3], sched.HEAD),
        (2, [1, 2], 1),
        (2, [9, 8], sched.HEAD),
        (2, [], sched.HEAD),
        (sched.HEAD, [9, 1], sched.HEAD),
    ],
)
def test_place_follows_its_server(pos: int, new: list[int], expected: int) -> None:
    """The place stays with the server chosen last, or goes to the nearest newer one when that is deleted."""
    assert rr.carry(sched.State(pos), slots(1, 1, 1), [(number, 1) for number in new]).pos == expected


def test_server_behind_a_deleted_one_comes_next() -> None:
    """Deleting the server chosen last neither repeats nor leaves out another."""
    service = model("rr", entries(1, 1, 1, 1))
    assert choices(service, 2) == [1, 2]
    service.change([entry(number, 1) for number in (1, 3, 4)])
    assert choices(service, 3) == [3, 4, 1]
