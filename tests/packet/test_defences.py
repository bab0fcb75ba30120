"""The defences of IPVS, and what the sweep of the flow table does for them, against the captured runs of a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, SENT, SIZES, Director, at, real
from tests.packet.frames import packet_of, tcp, to_vip, udp
from tests.packet.network import Network
from tests.packet.releases import HERE, compiled
from xlvs.dataplane import OBJECTS, Loaded, Loader
from xlvs.dataplane.flows import table_sizes

FLOWS = 1024


@pytest.fixture(scope="module")
def programs(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Director, Loaded]]:
    """The programs with room for some hundred flows, and one that sweeps the whole table at once."""
    scratch = Path(tmp_path_factory.mktemp("sweep"))
    sweep = compiled((HERE / "sweep_now.bpf.c").read_text(), scratch / "sweep_now.bpf.o")
    with network.inside():
        loaded = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o", sweep], sizes=SIZES | table_sizes(FLOWS)).load()
        director = Director(loaded)
    yield director, loaded
    loaded.close()


class Swept(Director):
    """A director whose table is swept when a test says so."""

    def sweep(self, times: int = 1) -> None:
        """Go through the whole table, as the timer does every two seconds."""
        assert self._programs["sweep_now"].test_run(bytes(64), repeat=times).retval == 0


@pytest.fixture
def swept(programs: tuple[Director, Loaded], network: Network) -> Iterator[Swept]:
    """The same without flows and services."""
    with network.inside():
        yield Swept(programs[1])


@pytest.mark.parametrize(("rate", "pass_"), [("3", 200), ("10", 270), ("1", 0), ("-1", 0), ("0", 300)])
def test_drop_packet_refuses_every_so_manyth(swept: Swept, family: int, hook: str, rate: str, pass_: int) -> None:
    """Of 300 new connections as many pass as passed the kernel, the first is refused; known ones always pass."""
    swept.serve(family, "tcp")
    assert swept.packet(tcp(to_vip(family, 3999), "S"), hook).verdict is SENT
    swept.configure(sysctls={"drop_packet": "3", "am_droprate": rate})
    verdicts = [swept.packet(tcp(to_vip(family, 4000 + n), "S"), hook).verdict for n in range(300)]
    assert verdicts.count(SENT) == pass_
    assert (verdicts[0] is DROP) == (rate != "0")
    assert swept.drops() == ({"defence": 300 - pass_} if pass_ != 300 else {})
    assert all(swept.packet(tcp(to_vip(family, 3999), "A"), hook).verdict is SENT for _ in range(20))


def test_drop_packet_is_for_every_protocol_and_only_in_mode_3(swept: Swept, family: int, hook: str) -> None:
    """Datagrams, too; mode 1 refuses nothing by itself."""
    swept.serve(family, "udp")
    swept.configure(sysctls={"drop_packet": "3", "am_droprate": "2"})
    verdicts = [swept.packet(udp(to_vip(family, 4000 + n)), hook).verdict for n in range(6)]
    assert verdicts == [DROP, SENT] * 3
    swept.configure(sysctls={"drop_packet": "1", "am_droprate": "1"})
    assert swept.packet(udp(to_vip(family, 9999)), hook).verdict is SENT


def test_drop_entry_ends_half_open_flows(swept: Swept, family: int) -> None:
    """Of 300 about a third has gone after 14 seconds, as captured; connections that are in use stay."""
    swept.serve(family, "tcp")
    for n in range(300):
        swept.packet(tcp(to_vip(family, 4000 + n), "S"))
    for n in range(5):
        swept.packet(tcp(to_vip(family, 5000 + n), "S"))
        swept.packet(tcp(to_vip(family, 5000 + n), "A"))
    for sysctls in ({}, {"drop_entry": "1"}):
        swept.configure(sysctls=sysctls)
        swept.sweep(7)
        assert swept.live() == 305
    swept.configure(sysctls={"drop_entry": "3"})
    swept.sweep(7)
    assert 150 <= swept.states().count("SYN_RECV") <= 230
    assert swept.states().count("ESTABLISHED") == 5
    assert swept.counters()["flow_shed"] == 305 - swept.live()
    assert swept.load(real(family)) == (swept.live(), 0)
    swept.sweep(1000)
    assert swept.states() == ["ESTABLISHED"] * 5


def test_drop_entry_ends_flows_of_few_packets_that_are_silent(swept: Swept, family: int, protocol: str) -> None:
    """After a minute without a packet, if there were no more than a few (todrop_entry)."""
    swept.serve(family, protocol)
    for port, packets in ((4000, 2), (4001, 40)):
        for flags in ("S", *("A" * (packets - 1))):
            swept.packet(packet_of(protocol, to_vip(family, port), flags))
    swept.configure(sysctls={"drop_entry": "3"})
    swept.make_older(50)
    swept.sweep(1000)
    assert swept.live() == 2
    swept.make_older(20)
    swept.sweep(3000)
    assert [flow.client[1] for flow in swept.flows()] == [4001]


def test_the_sweep_ends_flows_of_deleted_servers(swept: Swept, family: int, protocol: str) -> None:
    """With expire_nodest_conn, without a packet of theirs (ip_vs_expire_nodest_conn_flush); others stay."""
    key = f"{at(net.VIP[family], 80)}/{protocol}"
    servers = [f"{real(family, 'nat', n)} nat" for n in (1, 2)]
    swept.service(key, *servers)
    for n in range(10):
        swept.packet(packet_of(protocol, to_vip(family, 4000 + n), "S"))
    swept.service(key, servers[0])
    swept.sweep()
    assert swept.live() == 10
    swept.configure(sysctls={"expire_nodest_conn": "1"})
    swept.sweep()
    assert swept.live() == 5
    assert {flow.server for flow in swept.flows()} == {net.server(family, 1)}
