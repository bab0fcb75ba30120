"""Maglev tables that the kernel fills, against the rule."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlvs import sched
from xlvs.dataplane.maglev import Filler, Maglev
from xlvs.errors import HostError, InvalidError

JOBS = st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(1, 63)), min_size=1, max_size=1024)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Maglev]:
    """The program."""
    made = Maglev()
    yield made
    made.close()


def split(job: list[tuple[int, int]]) -> tuple[sched.Array, sched.Array]:
    """Return seeds and turns."""
    return np.array([seed for seed, _ in job], np.uint32), np.array([turns for _, turns in job], np.uint32)


@given(JOBS, st.sampled_from([2, 3, 251, 509, 1021, 4093]))
def test_the_kernel_fills_a_table_as_the_rule_says(kernel: Maglev, job: list[tuple[int, int]], size: int) -> None:
    """Any servers, also the same one twice, any weights, any prime size: every entry has the same owner."""
    seeds, turns = split(job)
    assert np.array_equal(kernel.fill(seeds, turns, size), sched.fill(seeds, turns, size))


@pytest.mark.parametrize(("servers", "size"), [(1, 65521), (1000, 65521), (1024, 131071)])
def test_a_large_table_takes_several_runs_and_is_the_same(kernel: Maglev, servers: int, size: int) -> None:
    """What is left after one run is done by the next ones."""
    seeds, turns = split([(0x0A000000 + 7 * i, 1 + i % 5) for i in range(servers)])
    assert np.array_equal(kernel.fill(seeds, turns, size), sched.fill(seeds, turns, size))


def test_a_size_that_no_table_has_is_refused(kernel: Maglev) -> None:
    """Too large, or so small that there is no step from one entry to another: a sentence, not a loop."""
    with pytest.raises(InvalidError, match="a Maglev table of 262139 entries is too large: at most 131072"):
        kernel.fill(*split([(1, 1)]), 262139)
    with pytest.raises(HostError, match="the kernel does not fill a Maglev table of 1 entries: 1 are left"):
        kernel.fill(*split([(1, 1)]), 1)


def test_without_the_kernel_tables_are_filled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that does not take the program is asked once, and reported once."""

    def refuse() -> Maglev:
        raise HostError("the kernel refused program xlvs_maglev")

    monkeypatch.setattr("xlvs.dataplane.maglev.Maglev", refuse)
    reports: list[Exception] = []
    filler, (seeds, turns) = Filler(sched.fill, reports.append), split([(1, 1), (2, 3)])
    for _ in range(2):
        assert np.array_equal(filler(seeds, turns, 251), sched.fill(seeds, turns, 251))
    assert [str(err) for err in reports] == ["the kernel refused program xlvs_maglev"]
