"""The writes behind a plan's decisions: slots, and which of them lead to loads that lie together."""

from __future__ import annotations

import numpy as np
import pytest

from xlvs.dataplane import _abi as abi
from xlvs.plan import puts, writes

NAT, ROUTE = (int(fwd) << abi.CHOICE_FWD_SHIFT for fwd in (abi.Fwd.NAT, abi.Fwd.ROUTE))


def blocks(*services: list[int]) -> list[bool]:
    """Put services with servers of these numbers, oldest first, in force; say of each block whether it is a run."""
    choices = np.array([number | ROUTE for numbers in services for number in numbers], np.uint32)
    firsts = list(range(10, 10 * len(services) + 10, 10))
    (put,) = puts.put_slots(firsts, [len(numbers) for numbers in services], choices, [1] * len(choices))
    assert isinstance(put, writes.Put)
    slots = put.values["slot"]
    newest_first = [number | ROUTE for numbers in services for number in reversed(numbers)]
    assert [c & ~abi.RUN for c in slots["choice"][slots["weight"] == 1].tolist()] == newest_first
    assert not (slots["choice"][:, 1:] & abi.RUN).any()
    return (slots["choice"][:, 0] & abi.RUN != 0).tolist()


@pytest.mark.parametrize(
    ("numbers", "runs"),
    [
        ([7], [True]),
        ([0, 1, 2], [True]),
        ([0, 2, 3], [False]),
        ([2, 1, 0], [False]),
        (list(range(40)), [True, True, True]),
        ([*range(20), *range(21, 41)], [True, False, True]),
        (list(range(1020, 1030)), [False]),
        (list(range(1024 - 16, 1024)), [True]),
        (list(range(1000, 1041)), [True, False, True]),
        (list(range(1024, 1034)), [True]),
    ],
)
def test_a_block_is_a_run_if_its_numbers_fall_one_by_one_within_a_page(numbers: list[int], runs: list[bool]) -> None:
    """A block that is not full is one, too; one that spans two pages of overheads is none."""
    assert blocks(numbers) == runs


def test_every_service_has_its_own_runs() -> None:
    """What one service's servers are called does not matter to another's."""
    assert blocks(list(range(17)), [50], [3, 1], list(range(100, 116))) == [True, True, True, False, True]
