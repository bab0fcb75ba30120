"""The flow table under two CPUs at once: what must always be so, is so after hundreds of thousands of packets.

Each case is another way for the CPUs to be in each other's way; stress.bpf.c judges every packet, table_state.py the
table.  docs/flow-table.md has the list of what is checked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.packet.network import Network
from tests.packet.stress import Rig

WHOLE = "SsAaaAFfARr"
"""A connection, with a reset behind its end."""

PACKETS = 20_000
"""Per CPU and round."""

CHURN = {
    "the same flows in step": ({}, {"lockstep": True}),
    "whole connections in step": ({}, {"lockstep": True, "burst": True, "flows": 4096}),
    "IPv6 in step": ({}, {"lockstep": True, "families": (6, 6), "udp": 1}),
    "the same flows out of step": ({}, {"apart": True, "udp": 1}),
    "one CPU IPv4, the other IPv6": ({"buckets": 4}, {"families": (4, 6), "udp": 1}),
    "more flows than slots, in step": ({"buckets": 4}, {"lockstep": True, "udp": 1}),
    "more flows than slots, out of step": ({"buckets": 4}, {"apart": True, "udp": 1}),
    "more flows than slots of IPv6": ({"buckets": 4}, {"apart": True, "udp": 1, "families": (6, 6)}),
    "no spill": ({"buckets": 4, "spill": 0}, {"apart": True, "udp": 1}),
    "several flows of one client port": ({"buckets": 4}, {"apart": True, "udp": 1, "share": 8}),
    "no time to be idle": ({"buckets": 4, "idle": 0}, {"apart": True, "udp": 1, "share": 4}),
    "a moment to be idle": ({"buckets": 2, "idle": 1}, {"apart": True, "udp": 1, "share": 8, "families": (4, 6)}),
    "expiry in many buckets": ({"buckets": 256, "idle": 2}, {"lockstep": True, "udp": 1, "flows": 4096, "share": 2}),
}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The programs in a network of their own, with the expiry timer running."""
    network = Network.make()
    with network.inside():
        rig = Rig(Path(tmp_path_factory.mktemp("stress")))
        rig.director.sweep()
        yield rig
        rig.loaded.close()
    network.close()


def seeds() -> Iterator[int]:
    """Yield the seeds of some rounds; XLVS_STRESS_SEED and XLVS_STRESS_ROUNDS choose others."""
    first = int(os.environ.get("XLVS_STRESS_SEED", "1"))
    yield from range(first, first + int(os.environ.get("XLVS_STRESS_ROUNDS", "2")))


@pytest.mark.parametrize("case", CHURN)
def test_two_cpus_agree(rig: Rig, case: str) -> None:
    """Flows that open, end and expire under both CPUs leave a sound table, and no packet goes astray."""
    table, traffic = CHURN[case]
    rig.begin(**table)
    packets = 0
    for seed in seeds():
        rig.hurry(table.get("idle"))
        rig.drive(PACKETS, WHOLE, **{"flows": 64, "seed": seed, **traffic})
        packets += 2 * PACKETS
        rig.settle()
        assert rig.faults() == [], f"seed {seed}"
    judged = rig.tally()
    assert judged["forwarded"] + judged["kept"] == packets
    assert judged["forwarded"] > packets * 0.8
    rig.expire()
    rig.settle()
    assert rig.faults() == []
    assert rig.director.live() == rig.director.held() == 0


def test_a_flow_has_one_server(rig: Rig) -> None:
    """Of a service with eight servers, a flow that does not end stays with its first, on whichever CPU."""
    rig.begin(several=True)
    for seed, families in zip(seeds(), [(4, 4), (6, 6)] * 9, strict=False):
        rig.drive(PACKETS, "SAaA", flows=2048, udp=1, lockstep=True, families=families, seed=seed)
        assert rig.faults() == [], f"seed {seed}"
    assert rig.director.counters()["flow_opened"] == rig.director.held()


def test_a_full_table_keeps_servers(rig: Rig) -> None:
    """Flows beyond the table's room have one server each, too, and those that are in stay in."""
    rig.begin(several=True, buckets=4)
    for seed in seeds():
        rig.drive(PACKETS, "SAa", flows=512, udp=4, apart=True, seed=seed)
        assert rig.faults() == [], f"seed {seed}"
    counters = rig.director.counters()
    assert counters["flow_opened"] == rig.director.held() == 32
    assert counters["flow_full"] > 0
    assert "flow_reclaimed" not in counters


def test_a_flood_of_half_open_flows_ends_no_connection(rig: Rig) -> None:
    """While both CPUs flood a full table with SYNs, every packet of a connection in use finds its flow."""
    rig.begin(buckets=4)
    rig.drive(2000, "SA", flows=8)
    mine = {flow.ends for flow in rig.held() if flow.state.name == "ESTABLISHED"}
    assert len(mine) == 8
    rig.lose_patience()
    for seed in seeds():
        rig.drive(PACKETS, "S", flows=4096, apart=True, seed=seed)
        rig.settle()
        assert rig.faults() == [], f"seed {seed}"
    assert mine <= {flow.ends for flow in rig.held()}
    assert rig.director.counters()["flow_reclaimed"] > 100
    before = rig.tally(), rig.director.counters().get("stateless", 0)
    rig.drive(2000, "A", flows=8)
    assert rig.tally()["forwarded"] == before[0]["forwarded"] + 4000
    assert rig.director.counters().get("stateless", 0) == before[1]


@pytest.mark.parametrize("families", [(4, 4), (6, 6)], ids=["v4", "v6"])
def test_the_sweep_and_a_cpu_agree(rig: Rig, families: tuple[int, int]) -> None:
    """One CPU opens flows in an overfull table while the other sweeps it without rest."""
    rig.begin(buckets=4, idle=0)
    traffic: dict[str, Any] = {"flows": 64, "share": 2, "udp": 1, "families": families}
    for seed in seeds():
        rig.hurry(0)
        rig.together(
            lambda seed=seed: rig.drive(PACKETS, WHOLE, seed=seed, here=True, **traffic), lambda: rig.sweep(PACKETS)
        )
        rig.settle()
        assert rig.faults() == [], f"seed {seed}"
    assert rig.director.counters()["flow_expired"] > 100
