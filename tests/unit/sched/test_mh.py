"""mh: Maglev hashing."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from tests.captures import later
from tests.unit.sched.service import CLIENT, entries, entry, model
from xlvs import sched
from xlvs.sched import mh


def test_shares_follow_the_weights() -> None:
    """Servers take turns, so no share is off by more than a turn."""
    counts = Counter(mh.table(entries(1, 2, 3)).tolist())
    for number, weight in enumerate((1, 2, 3), 1):
        assert abs(counts[number] - mh.TABLE_SIZE * weight / 6) <= weight


def test_a_small_weight_beside_a_huge_one_still_counts() -> None:
    """Scaled down, a weight that is not 0 is never 0."""
    counts = Counter(mh.table(entries(1, 65535)).tolist())
    assert counts[1] == math.ceil(mh.TABLE_SIZE / (1 + (65535 >> 10)))


def test_table_of_no_servers_is_nobodys() -> None:
    """Without servers, or without any weight so far, every client is refused."""
    for servers in ([], entries(0, 0)):
        assert set(mh.table(servers).tolist()) == {sched.NO_SERVER}
        assert model("mh", servers, "mh-fallback").choose(sched.Ask(CLIENT, 1024)) is None


def test_a_deleted_server_moves_few_clients_of_others() -> None:
    """Most entries of the servers that stay are where they were."""
    servers = entries(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    before, after = mh.table(servers), mh.table(servers[1:])
    stayed = before != 1
    assert np.mean(before[stayed] == after[stayed]) > 0.9


def test_a_drained_server_keeps_its_entries() -> None:
    """Weight 0 changes nothing in the table, so nobody else's clients move."""
    assert np.array_equal(mh.table(entries(2, 3)), mh.table([entry(1, 0, last_weight=2), entry(2, 3)]))


def test_a_server_added_with_weight_zero_gets_no_entry() -> None:
    """Its last weight is 0, too."""
    assert set(mh.table([entry(1, 0), entry(2, 3)]).tolist()) == {2}


@pytest.mark.parametrize(("flags", "servers"), [([], 1), (["mh-port"], 4)])
def test_the_port_counts_only_with_its_flag(flags: list[str], servers: int) -> None:
    """A client keeps its server whatever its port, unless mh-port is set."""
    service = model("mh", entries(1, 1, 1, 1), *flags)
    assert len({service.choose(sched.Ask(CLIENT, port)) for port in range(1024, 1280)}) == servers


def test_fallback_finds_the_server_that_is_left() -> None:
    """With mh-fallback no client is refused while one server has a weight."""
    servers = [entry(1, 0, last_weight=1), entry(2, 1)]
    clients = [sched.Ask(later(CLIENT, i), 1024) for i in range(256)]
    assert {model("mh", servers).choose(ask) for ask in clients} == {None, 2}
    assert {model("mh", servers, "mh-fallback").choose(ask) for ask in clients} == {2}
