"""mh: Maglev hashing."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.captures import later
from tests.unit.sched.service import CLIENT, entries, entry, model
from xlvs import sched
from xlvs.model import Address
from xlvs.sched import mh
from xlvs.sched.parts import hashing

ADDRESSES = st.one_of(
    st.binary(min_size=16, max_size=16).map(Address),
    st.binary(min_size=4, max_size=4).map(lambda last: Address(bytes(10) + b"\xff\xff" + last)),
)
SERVERS = st.lists(
    st.builds(
        sched.Entry,
        st.integers(0, sched.NO_SERVER - 1),
        ADDRESSES,
        st.integers(0, 65535),
        st.just(1),
        st.integers(0, 65535),
    ),
    max_size=40,
)


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


def rule(servers: list[sched.Entry], size: int) -> list[int]:
    """Return the table as the paper says: in turns, each server the next free entries of its permutation."""
    scaled = mh._turns([server.last_weight for server in servers], size.bit_length() // 2).tolist()
    seeds = [hashing.fold(server.address, server.port) for server in servers]
    walks = [
        iter(
            [
                (mh._hash(s, mh._OFFSET_KEY) + i * (mh._hash(s, mh._SKIP_KEY) % (size - 1) + 1)) % size
                for i in range(size)
            ]
        )
        for s in seeds
    ]
    table = [sched.NO_SERVER] * size
    while any(scaled) and sched.NO_SERVER in table:
        for server, walk, turns in zip(servers, walks, scaled, strict=True):
            for _ in range(turns):
                free = next((place for place in walk if table[place] == sched.NO_SERVER), None)
                if free is not None:
                    table[free] = server.number
    return table


@given(SERVERS, st.sampled_from((2, 11, 251)))
def test_any_table_is_what_the_rule_says(servers: list[sched.Entry], size: int) -> None:
    """Whatever the addresses, the weights and the size, every entry belongs to whom the paper gives it."""
    assert mh.table(servers, size=size).tolist() == rule(servers, size)


@given(SERVERS)
def test_addresses_become_numbers_one_by_one_or_all_at_once(servers: list[sched.Entry]) -> None:
    """What is hashed of a server is what is hashed of a client."""
    assert hashing.folds(servers).tolist() == [hashing.fold(server.address, server.port) for server in servers]


class Counted:
    """Fills tables, and counts them."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, seeds: sched.Array, turns: sched.Array, size: int) -> sched.Array:
        """Fill one."""
        self.times += 1
        return mh.fill(seeds, turns, size)


def test_draining_a_server_and_bringing_it_back_fills_no_table() -> None:
    """A table whose entries are the same is filled once; what leads to the servers is put in anew."""
    counted = Counted()
    filled = mh.Filled(counted)
    for servers in (
        entries(2, 3),
        [entry(1, 0, last_weight=2), entry(2, 3)],
        [entry(7, 2), entry(2, 3)],
        entries(2, 3),
    ):
        if servers[0].number == 7:
            servers[0] = sched.Entry(7, entry(1, 2).address, 80, 2, 2)
        assert np.array_equal(mh.table(servers, filled), mh.table(servers))
    assert counted.times == 1
    mh.table(entries(2, 4), filled)
    assert counted.times == 2


def test_of_many_tables_the_last_are_remembered() -> None:
    """There is room for so many entries; what was not wanted for longest goes."""
    counted = Counted()
    filled = mh.Filled(counted, room=2 * 251)
    for weights in ((1, 2), (1, 3), (1, 2), (1, 4), (1, 2)):
        mh.table(entries(*weights), filled, 251)
    assert counted.times == 3
    mh.table(entries(1, 3), filled, 251)
    assert counted.times == 4
