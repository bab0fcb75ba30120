"""Rings of rr and wrr: the same choices as by walking."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.sched.service import CLIENT
from xlvs import sched
from xlvs.sched import rr, wrr
from xlvs.sched.parts.ring import FEW, MOST

ASK = sched.Ask(CLIENT, 1024)

WEIGHTS = st.one_of(
    st.sampled_from([0, 1]),
    st.integers(0, 7),
    st.sampled_from([0, 300, 450, 600]),
)
SERVERS = st.lists(WEIGHTS, min_size=14, max_size=40)


class Edit(NamedTuple):
    """One edit: which servers are deleted, the weights of those added before the others, how many choices follow."""

    deleted: set[int]
    added: list[int]
    changed: dict[int, int]
    choices: int


EDITS = st.lists(
    st.builds(
        Edit,
        st.sets(st.integers(0, 30), max_size=3),
        st.lists(WEIGHTS, max_size=4),
        st.dictionaries(st.integers(0, 40), WEIGHTS, max_size=3),
        st.integers(0, 60),
    ),
    max_size=6,
)


class ByRing:
    """A service as `sched.Model`, but with what the planner and ``bpf/sched/ring.h`` do where there is a ring."""

    def __init__(self, scheduler: str) -> None:
        self._member = sched.get(scheduler)
        self._slots: list[tuple[int, int]] = []
        self._state = self._member.start([])
        self._ring: sched.Table | None = None

    def change(self, slots: list[tuple[int, int]]) -> None:
        """Replace the servers."""
        state = self._state
        if self._ring is not None:
            state = self._member.from_ring(state, [weight for _, weight in self._slots])
        state = self._member.carry(state, self._slots, slots)
        weights = [weight for _, weight in slots]
        self._ring = self._member.ring(weights)
        self._slots, self._state = slots, state if self._ring is None else self._member.to_ring(state, weights)

    def choose(self) -> int | None:
        """Return the next server's number."""
        if self._ring is None:
            parameters = self._member.parameters([weight for _, weight in self._slots])
            view = sched.View(self._slots, self._state, frozenset(), parameters, None)
            number, self._state = self._member.choose(view, ASK)
            return number
        index = (self._state.cw + 1) % len(self._ring)
        place = int(self._ring[index])
        self._state = sched.State(place, index)
        return self._slots[place][0]


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
@given(SERVERS, EDITS)
def test_edits_and_choices_are_those_of_the_walk(scheduler: str, weights: list[int], edits: list[Edit]) -> None:
    """Whatever is edited between the choices, with a ring before, after, or not, the sequence is that of IPVS."""
    slots = list(enumerate(weights))
    walk, ring = sched.Model(scheduler), ByRing(scheduler)
    for edit in [Edit(set(), [], {}, 50), *edits]:
        fresh = max((number for number, _ in slots), default=0) + 1
        slots = [*enumerate(edit.added, fresh), *(slot for slot in slots if slot[0] not in edit.deleted)]
        slots = [(number, edit.changed.get(number, weight)) for number, weight in slots]
        walk.change([sched.Entry(number, CLIENT, 80, weight, weight) for number, weight in slots])
        ring.change(slots)
        for _ in range(edit.choices):
            assert ring.choose() == walk.choose(ASK)


@given(st.lists(st.integers(0, 9), min_size=17, max_size=50), st.integers(1, 7000))
def test_a_ring_is_one_whole_cycle_of_the_walk(times: list[int], unit: int) -> None:
    """Each server is in it as often as its weight says, in units of the divisor, and then the walk repeats."""
    weights = [unit * n for n in times]
    ring = wrr.ring(weights)
    if len(set(weights)) == 1:
        assert ring is None
        return
    assert ring is not None
    walk = sched.Model("wrr")
    walk.change([sched.Entry(place, CLIENT, 80, weight, weight) for place, weight in enumerate(weights)])
    for _ in range(2):
        assert [walk.choose(ASK) for _ in ring] == ring.tolist()


def test_the_ring_of_rr_leaves_out_who_has_no_weight() -> None:
    """How large a weight is does not matter."""
    ring = rr.ring([0, 5] * 10)
    assert ring is not None
    assert ring.tolist() == list(range(1, 20, 2))


@pytest.mark.parametrize("weights", [[], [0, 1], [0] * 100, [7] * 100, [0, *[7] * (FEW - 1)]])
def test_no_ring_where_the_walk_is_short(weights: list[int]) -> None:
    """Few servers are looked at at once, and among equal ones the next is the one; without a weight there is none."""
    assert wrr.ring(weights) is None
    assert rr.ring(weights) is None


def test_a_ring_has_a_largest_size() -> None:
    """A cycle of more choices is walked."""
    ring = wrr.ring([1] * 16 + [MOST - 16])
    assert ring is not None
    assert len(ring) == MOST
    assert wrr.ring([1] * 16 + [MOST - 15]) is None


def test_a_state_that_fits_no_ring_begins_at_the_top() -> None:
    """As in the kernel half: a current weight above the largest, or none, is the largest."""
    weights = [1] * 16 + [3]
    for cw in (0, 4, -1):
        assert wrr.to_ring(sched.State(sched.HEAD, cw), weights) == (sched.HEAD, -1)
