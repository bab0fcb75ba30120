"""sh: source hashing."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.captures import later
from tests.unit.sched.service import CLIENT, entries, model
from xlvs import sched
from xlvs.model import Address
from xlvs.sched import sh


def test_servers_lie_in_runs_of_their_weight() -> None:
    """Each server takes as many entries in a row as its weight, round and round, one if the weight is 0."""
    assert sh.table(entries(1, 3, 0))[:12].tolist() == [1, 2, 2, 2, 3, 1, 2, 2, 2, 3, 1, 2]


def test_table_is_full() -> None:
    """The last run is cut off where the table ends."""
    table = sh.table(entries(100, 200))
    assert Counter(table.tolist()) == {1: 100, 2: 156}
    assert len(table) == sh.TABLE_SIZE


def test_a_weight_beyond_the_table_fills_it() -> None:
    """The newest server of such a weight is the only one."""
    assert set(sh.table(entries(65535, 65535)).tolist()) == {1}


def test_table_of_no_servers_is_nobodys() -> None:
    """Without servers every client is refused."""
    assert set(sh.table([]).tolist()) == {sched.NO_SERVER}
    assert model("sh", []).choose(sched.Ask(CLIENT, 1024)) is None


@pytest.mark.parametrize(("flags", "servers"), [([], 1), (["sh-port"], 4)])
def test_the_port_counts_only_with_its_flag(flags: list[str], servers: int) -> None:
    """A client keeps its server whatever its port, unless sh-port is set."""
    service = model("sh", entries(1, 1, 1, 1), *flags)
    assert len({service.choose(sched.Ask(CLIENT, port)) for port in range(1024, 1280)}) == servers


def test_fallback_finds_the_server_that_is_left() -> None:
    """With sh-fallback no client is refused while one server has a weight."""
    clients = [sched.Ask(later(CLIENT, i), 1024) for i in range(256)]
    assert {model("sh", entries(0, 1)).choose(ask) for ask in clients} == {None, 2}
    assert {model("sh", entries(0, 1), "sh-fallback").choose(ask) for ask in clients} == {2}
    assert {model("sh", entries(0, 0), "sh-fallback").choose(ask) for ask in clients} == {None}


def test_an_ipv6_client_hashes_as_its_words_exclusive_ored() -> None:
    """Clients whose four words give the same are the same to sh."""
    service = model("sh", entries(1, 1, 1, 1, 1, 1, 1))
    for i in range(64):
        one = Address((i << 96 | 0xC0000000).to_bytes(16))
        two = later(Address.parse("192.0.0.0"), i)
        assert service.choose(sched.Ask(one, 1024)) == service.choose(sched.Ask(two, 1024))
