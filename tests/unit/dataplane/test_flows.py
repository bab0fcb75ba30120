"""The reader of the flow table, over memory that is written as the programs write it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.dataplane.mapped import HZ, NOW, FakeTable
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import ALL, Filter, table_sizes
from xlvs.model import Address

VIP = ("192.0.2.1", 80)
CLIENT = ("198.51.100.1", 1001)


@pytest.fixture
def held() -> FakeTable:
    """A table without flows."""
    return FakeTable()


def records(held: FakeTable, wanted: Filter = ALL) -> list[Any]:
    """Return the flows that are *wanted*."""
    return [record for some in held.table.records(wanted) for record in some]


def test_a_flow_is_read_as_it_was_written(held: FakeTable) -> None:
    """Ends, state, server, ages and bytes, of both families and in the spill."""
    held.add(CLIENT, VIP, 3, "SYN_RECV", idle_s=2, sizes=(7, 8))
    held.add(("2001:db8::7", 1002), ("2001:db8::1", 53), (1 << 20) - 1, "UDP", sizes=((7 << 30) + 1, 2 << 30))
    held.add(("198.51.100.3", 1003), VIP, 5, spilled=True)
    first, second, third = records(held)
    assert (first["client"].item(), first["virt"].item()) == (Address.parse(CLIENT[0]), Address.parse(VIP[0]))
    assert (first["cport"], first["vport"], first["server"]) == (1001, 80, 3)
    assert (first["state"], first["idle"], first["left"]) == (abi.FlowState.SYN_RECV, 2 * HZ, 58 * HZ)
    assert (first["in_bytes"], first["out_bytes"]) == (7, 8)
    assert second["client"].item() == Address.parse("2001:db8::7")
    assert second["virt"].item() == Address.parse("2001:db8::1")
    assert (second["server"], second["in_bytes"], second["out_bytes"]) == ((1 << 20) - 1, (7 << 30) + 1, 2 << 30)
    assert third["client"].item() == Address.parse("198.51.100.3")
    assert third["virt"].item() == Address.parse(VIP[0])


def test_what_is_no_flow_is_not_read(held: FakeTable) -> None:
    """A slot that was never used, one that is free, one that is being filled, and a flow idle for too long."""
    for place in (abi.FLOW_FREE, abi.FLOW_BUSY):
        held.add(CLIENT, VIP, 0)["life"] = 7 << abi.FLOW_TAKEN_SHIFT | (place ^ abi.FLOW_FREE)
    held.add(CLIENT, VIP, 0, "CLOSE", idle_s=10.5)
    assert records(held) == [] and held.table.count().flows == 0
    held.add(CLIENT, VIP, 0, "CLOSE", idle_s=10)
    assert [record["left"] for record in records(held)] == [0]


def test_a_packet_after_the_clock_was_read_is_no_age(held: FakeTable) -> None:
    """A flow seen a jiffy later than now is not idle, and jiffies may wrap."""
    held.add(CLIENT, VIP, 0)["seen"] = (NOW + 1) & 0xFFFFFFFF
    assert [record["idle"] for record in records(held)] == [0]


def test_a_slot_that_changes_hands_meanwhile_is_left_out(held: FakeTable) -> None:
    """Its record would be of two flows; one whose state changes is still the same flow."""
    slots = [held.add((CLIENT[0], port), VIP, 1) for port in range(3)]
    part = next(iter(held.table.parts()))
    slots[0]["life"] ^= 1 << abi.FLOW_TAKEN_SHIFT
    slots[1]["life"] = (slots[1]["life"] & ~np.uint32(63)) | (abi.FlowState.CLOSE ^ abi.FLOW_FREE)
    slots[2]["life"] = 0
    assert part.records()["cport"].tolist() == [1]


def test_unused_stripes_are_skipped(held: FakeTable) -> None:
    """What the programs have not marked is not looked at."""
    held.add(CLIENT, VIP, 0)
    held.add(("2001:db8::7", 1), VIP, 0)
    stripes = held.maps["flow_stripes"].values["used"]
    assert len(records(held)) == 2
    stripes[: len(stripes) // 2] = 0
    assert [record["cport"] for record in records(held)] == [1]


def test_counts_are_those_of_the_list(held: FakeTable) -> None:
    """By state, server and age; servers beyond the array are counted in all."""
    rng = np.random.default_rng(1)
    states = ("ESTABLISHED", "FIN_WAIT", "UDP")
    for i in range(500):
        state = states[i % 3]
        held.add((f"198.51.100.{i % 250}", i), VIP, int(rng.integers(40)) * 500, state, idle_s=int(rng.integers(110)))
    listed = np.concatenate(list(held.table.records()))
    for limit in (0, 100, 10_000, 20_000):
        counts = held.table.count(servers=limit)
        assert counts.flows == len(listed) == 500
        assert counts.states.tolist() == np.bincount(listed["state"], minlength=64).tolist()
        assert counts.servers.tolist() == np.bincount(listed["server"], minlength=20_000)[:limit].tolist()
        seconds = listed["idle"] // HZ
        assert counts.ages.tolist()[:5] == [
            int(((seconds >= begin) & (seconds < end)).sum())
            for begin, end in ((0, 1), (1, 10), (10, 30), (30, 60), (60, 120))
        ]


def test_servers_beyond_a_filter_are_not_meant(held: FakeTable) -> None:
    """A filter made before a server was added does not know it."""
    held.add(CLIENT, VIP, 1)
    held.add(CLIENT, VIP, 2)
    held.add(CLIENT, VIP, 900)
    wanted = Filter(servers=np.array([False, False, True]))
    assert [record["server"] for record in records(held, wanted)] == [2]


def test_sizes_hold_what_was_asked_for() -> None:
    """Twice as many slots as flows, of each family its own, and a stripe for every bucket."""
    assert table_sizes(262144)["flows4"] == abi.MAX_FLOWS // 2
    assert table_sizes(262144)["flow_stripes"] == abi.MAX_FLOWS >> abi.STRIPE_SHIFT
    sizes = table_sizes(1000, 1)
    assert (sizes["flows4"], sizes["flows6"], sizes["flow_stripes"]) == (500, 2, 9)
    assert FakeTable(1000).table.room == {4: 1000, 6: 1000}
