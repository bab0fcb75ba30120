"""dh: destination hashing."""

from __future__ import annotations

from collections import Counter

from tests.captures import later
from tests.unit.sched.service import CLIENT, VIRTUAL, entries, model
from xlvs import sched
from xlvs.sched import dh


def test_servers_take_turns_whatever_their_weights() -> None:
    """One entry each, newest first, round and round; a server of weight 0 has its own as well."""
    table = dh.table(entries(1, 60000, 0))
    assert table[:7].tolist() == [1, 2, 3, 1, 2, 3, 1]
    assert Counter(table.tolist()) == {1: 86, 2: 85, 3: 85}


def test_table_of_no_servers_is_nobodys() -> None:
    """Without servers every client is refused."""
    assert set(dh.table([]).tolist()) == {sched.NO_SERVER}


def test_the_virtual_address_alone_decides() -> None:
    """All clients of an address have the same server, and different addresses use all servers."""
    service = model("dh", entries(1, 1, 1))
    asks = [(sched.Ask(later(CLIENT, i), 1024 + i, virtual=VIRTUAL)) for i in range(64)]
    assert len({service.choose(ask) for ask in asks}) == 1
    asks = [(sched.Ask(CLIENT, 1024, virtual=later(VIRTUAL, i))) for i in range(64)]
    assert {service.choose(ask) for ask in asks} == {1, 2, 3}
