"""The model of the flow table keeps what the table promises; tests/packet/test_table.py holds the programs to it."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.dataplane.table import MAPPED, TCP, UDP, Ends, Flow, Table, bucket_of
from xlvs.dataplane._abi import FlowState

TCP_STATES = [state for state in FlowState if state < 16]

heads = st.sampled_from([MAPPED + b"\xc6\x33\x64", b"\x20\x01\x0d\xb8" + bytes(11)])
clients = st.builds(lambda head, number: head + bytes([number]), heads, st.integers(0, 7))


@st.composite
def some_ends(draw: st.DrawFn) -> Ends:
    """Ends of a few clients, ports and services, so that they meet."""
    client = draw(clients)
    virt = MAPPED + b"\xc0\0\2\1" if client.startswith(MAPPED) else b"\x20\x01\x0d\xb8" + bytes(11) + b"\1"
    return Ends(client, draw(st.integers(1, 3)), virt, draw(st.integers(80, 85)), draw(st.sampled_from([TCP, UDP])))


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, Ends, FlowState, int]]:
    """What happens, to whom, to which state, and after how many jiffies."""
    what = st.sampled_from(["open", "open", "open", "packet", "end", "sweep"])
    states = st.sampled_from(TCP_STATES)
    return draw(st.lists(st.tuples(what, some_ends(), states, st.integers(0, 40)), max_size=120))


def played(events: list[tuple[str, Ends, FlowState, int]], spill: int) -> tuple[Table, int]:
    """Return a table of two buckets for each family after these events, and the time; checks it after each."""
    table, now = Table((1, 2), {4: 2, 6: 2}, spill, {state: state.idle_s for state in FlowState}), 1000
    for what, ends, state, passed in events:
        now += passed
        flow = table.find(ends, now)
        in_use = [flow for _, flow in table.flows() if not flow.state.reclaim and not table.is_idle(flow, now)]
        if what == "open":
            begin = FlowState.SYN_RECV if ends.protocol == TCP else FlowState.UDP
            where = table.open(Flow(ends, ends.vport, begin, now), now)
            assert (where == "known") == (flow is not None)
            assert (table.find(ends, now) is None) == (where == "full")
        elif what == "packet" and flow:
            table.step(flow, state if ends.protocol == TCP else FlowState.UDP, now)
        elif what == "end" and flow:
            table.end(flow)
        elif what == "sweep":
            table.sweep(now)
            assert not [flow for _, flow in table.flows() if table.is_idle(flow, now)]
        left = [other for _, other in table.flows()]
        assert all(any(other is kept for other in left) for kept in in_use if what != "end" or kept is not flow)
        check(table, spill)
    return table, now


def check(table: Table, spill: int) -> None:
    """Hold what is true at every moment."""
    flows = list(table.flows())
    assert max(Counter(flow.ends for _, flow in flows).values(), default=1) == 1
    assert (
        max(Counter((flow.ends.family, place) for place, flow in flows if place.bucket is not None).values(), default=1)
        == 1
    )
    assert all(place.bucket is None or place.bucket ^ table.home(flow.ends) in (0, 1) for place, flow in flows)
    assert sum(place.bucket is None for place, _ in flows) <= spill
    assert sum(flow.ends.family == 4 and place.bucket is not None for place, flow in flows) <= 8
    assert table.loads().total() == len(flows)
    assert len(flows) == table.counters["flow_opened"] - table.counters["flow_expired"]


@settings(max_examples=60)
@given(steps(), st.sampled_from([0, 1, 2, 8]))
def test_whatever_happens_the_table_is_sound(events: list[tuple[str, Ends, FlowState, int]], spill: int) -> None:
    """No flow is there twice, none in use goes for a new one, loads are the flows there are, and room is what it is."""
    played(events, spill)


@settings(max_examples=60)
@given(steps(), st.sampled_from([0, 2, 8]))
def test_flows_are_found_from_both_sides(events: list[tuple[str, Ends, FlowState, int]], spill: int) -> None:
    """A flow that is not idle is found by its client's packets, and with nat by those of its server."""
    table, now = played(events, spill)
    for flow in [flow for _, flow in table.flows() if not table.is_idle(flow, now)]:
        ends = flow.ends
        assert table.find(ends, now) is flow
        found = table.find_reply(
            ends.client, ends.cport, ends.protocol, ends.family, lambda n, mine=flow.server: n == mine, now
        )
        assert found is flow
        assert table.find_reply(ends.client, ends.cport, ends.protocol, ends.family, lambda n: n == 0, now) is None
        flow.fwd = "route"
        assert table.find_reply(
            ends.client, ends.cport, ends.protocol, ends.family, lambda n, mine=flow.server: n == mine, now
        ) is not flow  # fmt: skip


def client(number: int) -> Ends:
    """Return the ends of one of many flows."""
    return Ends(MAPPED + number.to_bytes(4, "big"), 4000, MAPPED + b"\xc0\0\2\1", 80, UDP)


@pytest.mark.parametrize(("share", "spilled"), [(0.25, 0.0001), (0.5, 0.0088), (0.6, 0.023)])
def test_few_flows_need_the_spill(share: float, spilled: float) -> None:
    """Of a table filled to a half, nine flows of a thousand find no room in two buckets, and so on."""
    table = Table((0x1234, 0x5678), {4: 1 << 13, 6: 2}, 1 << 15)
    flows = round((4 << 13) * share)
    for number in range(flows):
        table.open(Flow(client(number), 1, FlowState.UDP, 0), 0)
    assert abs(table.counters["flow_spilled"] / flows - spilled) < 0.0008 + spilled / 4
    assert table.counters["flow_full"] == 0


@pytest.mark.parametrize("family", [4, 6])
def test_buckets_are_even(family: int) -> None:
    """Clients that count up, by address or by port, spread over all buckets as chance would."""
    source = random.Random(1)
    seed = source.getrandbits(64), source.getrandbits(64)
    head, virt = (MAPPED, MAPPED + bytes(4)) if family == 4 else (b"\x20\x01\x0d\xb8" + bytes(8), bytes(16))
    by_address = [Ends(head + n.to_bytes(4, "big"), 4000, virt, 80, TCP) for n in range(20_000)]
    by_port = [Ends(head + bytes(4), n, virt, 80, TCP) for n in range(20_000)]
    for flows in (by_address, by_port):
        counts = Counter(bucket_of(seed, 100, ends) for ends in flows)
        assert len(counts) == 100
        # Chi squared with 99 degrees of freedom: 56 and 160 are one in ten thousand, each way.
        assert 50 < sum((count - 200) ** 2 / 200 for count in counts.values()) < 170


def test_a_flow_may_lie_in_each_place() -> None:
    """Own bucket, the one beside, the spill, another's place, and nowhere: in this order."""
    table = Table((1, 2), {4: 2, 6: 2}, 1, dict.fromkeys(FlowState, 100))
    flows = [Ends(MAPPED + bytes(4), 4000, MAPPED + b"\xc0\0\2\1", 80 + n, TCP) for n in range(20)]
    where = [table.open(Flow(ends, 1, FlowState.SYN_RECV, n), n) for n, ends in enumerate(flows)]
    assert where == ["own"] * 4 + ["beside"] * 4 + ["spill"] + ["reclaimed"] * 11
    for _, flow in table.flows():
        table.step(flow, FlowState.ESTABLISHED, 20)
    assert table.open(Flow(flows[0], 1, FlowState.SYN_RECV, 20), 20) == "full"
    assert table.open(Flow(flows[0], 1, FlowState.SYN_RECV, 120), 120) == "full"
    assert table.open(Flow(flows[0], 1, FlowState.SYN_RECV, 121), 121) == "own"
    assert table.taken[(4, table.place(table.find(flows[0], 121)))] > 1


def test_the_oldest_unused_flow_makes_room() -> None:
    """Of the flows in which no connection is in use, the one seen longest ago goes; of equals the last."""
    table = Table((1, 2), {4: 2, 6: 2}, 0, dict.fromkeys(FlowState, 1000))
    flows = [Ends(MAPPED + bytes(4), 4000, MAPPED + b"\xc0\0\2\1", 80 + n, TCP) for n in range(9)]
    for ends, seen in zip(flows, [5, 3, 3, 9, 1, 6, 7, 8], strict=False):
        table.open(Flow(ends, 1, FlowState.SYN_RECV, seen), 9)
    table.step(table.find(flows[4], 9), FlowState.ESTABLISHED, 1)
    table.open(Flow(flows[8], 1, FlowState.SYN_RECV, 10), 10)
    left = {flow.ends for _, flow in table.flows()}
    assert left == set(flows) - {flows[2]}
