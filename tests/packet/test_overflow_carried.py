"""A larger table takes over from one that was full: connections that never had a flow are recognised on."""

from __future__ import annotations

from tests.packet.director import PASS, SENT, Director
from tests.packet.frames import tcp, to_vip
from tests.packet.network import Network
from xlvs.dataplane.upgrade.takeover import Takeover

TABLE = ("flows4", "flows6", "flow_stripes", "flow_spill", "flow_wide", "flow_head")


def test_connections_without_a_flow_live_on(network: Network, family: int, hook: str) -> None:
    """They go where they went, by the stateless choice, and not to the host, which would reset them."""
    with network.inside():
        (full, before), (larger, after) = Director.loaded(), Director.loaded(flows=1024)
        for director in (full, larger):
            director.serve(family, "tcp")
        full.crowd()
        assert full.packet(tcp(to_vip(family), "S"), hook).verdict is SENT
        assert larger.packet(tcp(to_vip(family), "A"), hook).verdict is PASS
        left = {name: before.maps[name] for name in TABLE}
        Takeover(after.maps, left, after.programs["xlvs_import"]).carry_overflow()
        went = full.packet(tcp(to_vip(family), "A"), hook)
        goes = larger.packet(tcp(to_vip(family), "A"), hook)
        assert (goes.verdict, goes.packet) == (went.verdict, went.packet) == (SENT, went.packet)
        before.close()
        after.close()
