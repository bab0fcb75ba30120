"""lblc and lblcr: locality-based least connections, of one server and of a set."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.captures import later
from tests.unit.sched.service import CLIENT, VIRTUAL, entries, entry, model
from xlvs import sched

DAY = 24 * 60 * 60


class Service:
    """A service whose connections never end, and the time."""

    def __init__(self, scheduler: str, *weights: int) -> None:
        self.model = model(scheduler, entries(*weights))
        self.active = Counter[int | None]()
        self.now = 1000

    def choose(self, address: int = 0, *, kept: bool = False) -> int | None:
        """Return whom a connection to that address goes to; *kept* stays open."""
        ask = sched.Ask(CLIENT, 1, lambda number: sched.Load(self.active[number]), later(VIRTUAL, address), self.now)
        number = self.model.choose(ask)
        self.active[number] += kept
        return number


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_an_address_stays_with_its_server(scheduler: str) -> None:
    """The first connection goes where wlc would send it, those after it to the same server, though it is not idlest."""
    service = Service(scheduler, 4, 4, 4)
    assert [service.choose(address, kept=True) for address in (0, 1, 2)] == [1, 2, 3]
    assert [service.choose(address, kept=True) for address in (2, 2, 2, 0, 1)] == [3, 3, 3, 1, 2]


def test_lblc_moves_when_the_server_is_strained_and_another_is_not() -> None:
    """More active connections than the weight, and somewhere less than half: then wlc says who it is from now on."""
    service = Service("lblc", 2, 9)
    service.active |= Counter({2: 5})
    assert service.choose() == 1
    service.active[1] = 3
    assert service.choose() == 1  # nobody has less than half
    service.active[2] = 4
    assert [service.choose(), service.choose()] == [2, 2]
    service.active[1] = 0
    assert service.choose() == 2


def test_lblcr_adds_a_server_and_then_uses_both() -> None:
    """The set grows by who wlc takes; of the set the least loaded for its weight gets the connection."""
    service = Service("lblcr", 2, 2, 2)
    assert [service.choose(kept=True) for _ in range(3)] == [1, 1, 1]
    assert [service.choose(kept=True) for _ in range(8)] == [2, 2, 2, 3, 3, 3, 3, 2]


def test_a_drained_or_deleted_server_is_given_up() -> None:
    """Another takes its place at once."""
    for scheduler in ("lblc", "lblcr"):
        for gone in ([entry(1, 0, 4), entry(2, 4)], [entry(2, 4)]):
            service = Service(scheduler, 4, 4)
            assert service.choose() == 1
            service.model.change(gone)
            assert [service.choose(), service.choose()] == [2, 2]


def test_what_was_not_used_for_a_day_is_forgotten() -> None:
    """Every connection begins the day anew."""
    for scheduler in ("lblc", "lblcr"):
        service = Service(scheduler, 4, 4)
        assert service.choose() == 1
        service.active[1] = 3
        for passed, expected in ((DAY - 1, 1), (DAY - 1, 1), (DAY, 2)):
            service.now += passed
            assert service.choose() == expected


def test_a_set_that_did_not_change_for_a_day_gives_up_its_most_loaded_server() -> None:
    """One at a time, and never the last."""
    service = Service("lblcr", 1, 1, 1)
    assert [service.choose(kept=True) for _ in range(5)] == [1, 1, 2, 2, 3]
    service.active |= Counter({1: 9})
    localities = service.model._view.localities[VIRTUAL]
    for _ in range(8):
        service.now += DAY // 4
        assert service.choose() == 3
    assert localities.servers == [2, 3]
    for _ in range(12):
        service.now += DAY // 4
        assert service.choose() == 3
    assert localities.servers == [3]


def test_a_full_set_replaces_its_most_loaded_server() -> None:
    """Sixteen servers are remembered for an address."""
    service = Service("lblcr", *[1] * 20)
    assert [service.choose(kept=True) for _ in range(2 * 16)] == [number for number in range(1, 17) for _ in range(2)]
    service.active[5] += 1
    assert service.choose() == 17
    servers = service.model._view.localities[VIRTUAL].servers
    assert servers == [1, 2, 3, 4, 17, *range(6, 17)]
