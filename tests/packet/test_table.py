"""The real programs beside the model of the flow table, one packet at a time.

Whatever a random sequence of packets, expiries, sweeps and deleted servers makes of the model
(tests/unit/dataplane/table.py), it makes of the maps: the same flows, in the same places, in the same states.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, SIZES, Director
from tests.packet.frames import LOCAL, at, from_server, packet_of
from tests.packet.network import Network
from tests.packet.releases import compiled
from tests.packet.table_state import Held, faults, held, make_older
from tests.packet.tcp_table import NEXT, event
from tests.unit.dataplane.table import Ends, Flow, Table
from xlvs.dataplane import OBJECTS, Loaded, Loader
from xlvs.dataplane import _abi as abi
from xlvs.dataplane._abi import FlowState
from xlvs.dataplane.flows import table_sizes
from xlvs.model import Address

HERE = Path(__file__).resolve().parent
SERVICES = range(80, 86)
SERVERS = (1, 2)
PROTOCOL = {"tcp": 6, "udp": 17}
COUNTERS = ("flow_opened", "flow_expired", "flow_beside", "flow_spilled", "flow_reclaimed", "flow_full")

IDLE = 1 << 20
"""Jiffies after which every flow expires: none does unless it is aged."""
LONG_AGO = 2 * IDLE


def forward_of(service: int) -> str:
    """The services of even ports are nat."""
    return "route" if service % 2 else "nat"


@dataclass
class Beside:
    """The programs, the model, and what happened so far; after each step both are the same."""

    loaded: Loaded
    director: Director
    table: Table
    begun: int
    clock: int = 0
    overflow: bool = False
    log: list[str] = field(default_factory=list)

    def packet(self, hook: str, family: int, protocol: str, cport: int, service: int, flags: str) -> None:
        """Give a client's packet to *hook*."""
        self._say(f"{hook} v{family} {protocol} {cport} > {service} {flags}")
        way = f"{at(net.CLIENT[family], cport)} > {at(net.VIP[family], service)}"
        out = self.director.packet(packet_of(protocol, way, flags), hook)
        ends = self._ends(family, protocol, cport, service)
        flow = self.table.find(ends, self.clock)
        fresh = protocol == "tcp" and "S" in flags and not {"A", "R"} & set(flags)
        if flow and fresh and flow.state in (FlowState.TIME_WAIT, FlowState.CLOSE):
            self.table.end(flow)
            flow = None
        if flow is None:
            flow = self._begin(ends, flags, out)
        elif not self._lives(flow.server):
            assert out.verdict is DROP
            return
        if flow:
            assert out.verdict is SENT
            assert self._number(family, protocol, service, out.packet[5]) == flow.server
            direction = "input" if flow.fwd == "nat" else "input-only"
            self._step(flow, direction, flags)

    def _begin(self, ends: Ends, flags: str, out: Any) -> Flow | None:
        """Let the model open a flow, to the server that the programs chose; None: the packet goes without."""
        begins = ends.protocol == 17 or ("S" in flags and "R" not in flags)
        if not begins:
            assert out.verdict is (SENT if self.overflow else PASS)
            return None
        assert out.verdict is SENT
        protocol = "tcp" if ends.protocol == 6 else "udp"
        server = self._number(ends.family, protocol, ends.vport, out.packet[5])
        state = FlowState.SYN_RECV if protocol == "tcp" else FlowState.UDP
        flow = Flow(ends, server, state, self.clock, forward_of(ends.vport))
        if self.table.open(flow, self.clock) != "full":
            return flow
        self.overflow = True
        return None

    def reply(self, hook: str, family: int, protocol: str, cport: int, service: int, server: int, flags: str) -> None:
        """Give a nat server's packet to *hook*."""
        self._say(f"{hook} v{family} {protocol} {cport} < {service} of {server} {flags}")
        address = net.server(family, server)
        way = f"{at(address, 8000 + service)} > {at(net.CLIENT[family], cport)}"
        out = self.director.packet(packet_of(protocol, way, flags, link=from_server(server)), hook)
        rows = self._servers()
        mine = (rows["addr"] == np.array([Address.parse(address)], abi.ADDR)) & (rows["port"] == 8000 + service)
        ends = self._ends(family, protocol, cport, service)
        flow = self.table.find_reply(
            ends.client, cport, ends.protocol, family, lambda number: bool(mine[number]), self.clock
        )
        if flow:
            assert out.verdict is SENT
            assert out.packet[:6].hex(":") == net.CLIENT_MAC
            self._step(flow, "output", flags)
        elif not self.overflow:
            assert out.verdict is PASS

    def _step(self, flow: Flow, direction: str, flags: str) -> None:
        state = flow.state
        if flow.ends.protocol == 6:
            state = FlowState[NEXT[direction, event(flags), state.name]]
        self.table.step(flow, state, self.clock)
        self._set_seen(flow)

    def age(self, flow: Flow) -> None:
        """Let a flow have been idle for too long."""
        self._say(f"expired: {flow.ends[1:4:2]} v{flow.ends.family}")
        flow.seen = -LONG_AGO
        self._set_seen(flow)

    def _set_seen(self, flow: Flow) -> None:
        """Write into the flow's slot when its last packet was: jiffies are too coarse to be told apart."""
        place, family = self.table.place(flow), flow.ends.family
        seen = (self.begun - IDLE // 2 + flow.seen) & 0xFFFFFFFF
        if place.bucket is None:
            spill = self.loaded.maps["flow_spill"]
            key = (flow.ends.client, flow.ends.cport, flow.ends.protocol, place.slot)
            value = spill.get(key).copy()
            value["low"]["seen"] = seen
            spill.put(key, value)
            return
        buckets = self.loaded.maps[f"flows{family}"]
        value = buckets.get(place.bucket).copy()
        slot = value["flow"][place.slot : place.slot + 1]
        (slot["low"] if family == 6 else slot)["seen"] = seen
        buckets.put(place.bucket, value)

    def sweep(self) -> None:
        """Go through the table as the timer does."""
        self._say("sweep")
        assert self.loaded.programs["sweep_now"].test_run(bytes(64)).retval == 0
        self.table.sweep(self.clock)

    def serve(self, family: int, protocol: str, service: int, servers: tuple[int, ...] = SERVERS) -> None:
        """Give a service these servers."""
        self._say(f"v{family} {protocol} {service} has servers {servers}")
        forward = forward_of(service)
        port = 8000 + service if forward == "nat" else service
        ends = [f"{at(net.server(family, number), port)} {forward}" for number in servers]
        self.director.service(f"{at(net.VIP[family], service)}/{protocol}", *ends)

    def check(self) -> None:
        """Compare all that can be seen."""
        maps, key = self.loaded.maps, lambda row: (row[0], row[1])
        real = sorted((self._row(flow) for flow in held(maps)), key=key)
        want = []
        for place, flow in self.table.flows():
            taken = self.table.taken[(flow.ends.family, place)] % 4 if place.bucket is not None else 0
            want.append((flow.ends, *place, flow.server, flow.state.name, taken))
        assert real == sorted(want, key=key)
        assert faults(maps) == []
        counters = self.director.counters()
        assert {name: counters.get(name, 0) for name in COUNTERS} == {
            name: self.table.counters[name] for name in COUNTERS
        }
        assert self.director.drops().keys() <= {"server_gone"}

    @staticmethod
    def _row(flow: Held) -> tuple[Any, ...]:
        taken = flow.taken if flow.bucket is not None else 0
        return flow.ends, flow.bucket, flow.slot, flow.server, flow.state.name, taken

    def _say(self, what: str) -> None:
        self.clock += 1
        self.log.append(what)

    def _servers(self) -> Any:
        return self.loaded.maps["servers"].read()

    def _lives(self, number: int) -> bool:
        return bool(self._servers()[number]["life"] & abi.LIFE_LIVE)

    def _number(self, family: int, protocol: str, service: int, server: int) -> int:
        rows = self._servers()
        addresses = np.array([Address.parse(net.server(family, server))], abi.ADDR)
        virt = np.array([Address.parse(net.VIP[family])], abi.ADDR)
        mine = (rows["addr"] == addresses) & (rows["virt"] == virt) & (rows["vport"] == service)
        (number,) = np.flatnonzero(mine & (rows["proto"] == PROTOCOL[protocol]))
        return int(number)

    @staticmethod
    def _ends(family: int, protocol: str, cport: int, service: int) -> Ends:
        client, virt = (bytes(Address.parse(text[family])) for text in (net.CLIENT, net.VIP))
        return Ends(client, cport, virt, service, PROTOCOL[protocol])


@pytest.fixture(scope="module", params=[0, 1, 2, 8], ids=lambda n: f"spill{n}")
def programs(
    request: pytest.FixtureRequest, network: Network, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Director, Loaded, int]]:
    """The programs with a table that has room for so many flows beside its buckets."""
    scratch = Path(tmp_path_factory.mktemp("sweep"))
    sweep = compiled((HERE / "sweep_now.bpf.c").read_text(), scratch / "sweep_now.bpf.o")
    sizes = {name: 2 * size for name, size in SIZES.items()} | table_sizes(64) | {"flow_spill": max(request.param, 1)}
    with network.inside():
        loaded = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o", sweep], sizes=sizes).load()
        director = Director(loaded)
    yield director, loaded, request.param
    loaded.close()


@pytest.fixture
def beside(programs: tuple[Director, Loaded, int], network: Network) -> Iterator[Beside]:
    """Programs and model with empty tables of two buckets, and some services."""
    director, loaded, spill = programs
    with network.inside():
        director.reset()
        director.configure(buckets=2, spill=spill)
        config = loaded.maps["config"].get(0)
        config["idle"][:] = IDLE
        loaded.maps["config"].put(0, config)
        seed = loaded.maps["flow_head"].get(0)["seed"].tolist()
        table = Table(tuple(seed), {4: 2, 6: 2}, spill, dict.fromkeys(FlowState, IDLE))
        both = Beside(loaded, director, table, begun=_jiffies(loaded))
        yield both


def _jiffies(loaded: Loaded) -> int:
    loaded.programs["xlvs_clock"].test_run(bytes(64))
    return int(loaded.maps["sweep"].get(0)["jiffies"])


def play(beside: Beside, seed: int, events: int) -> None:
    """Let so many things happen, and compare after each; what happened is in the failure's message."""
    chance = random.Random(seed)
    families, protocols = chance.choice([(4,), (6,), (4, 6)]), chance.choice([("tcp",), ("udp",), ("tcp", "udp")])
    for family in families:
        for protocol in protocols:
            for service in SERVICES:
                beside.serve(family, protocol, service)
    try:
        for _ in range(events):
            happen(beside, chance, families, protocols)
            beside.check()
    except AssertionError as error:
        raise AssertionError("\n".join([str(error), f"seed {seed}, the last of it:", *beside.log[-12:]])) from error


def happen(beside: Beside, chance: random.Random, families: tuple[int, ...], protocols: tuple[str, ...]) -> None:
    """Let one thing happen."""
    what = chance.random()
    who = chance.choice(families), chance.choice(protocols)
    cport, service, hook = chance.randrange(4000, 4004), chance.choice(SERVICES), chance.choice(["tc", "xdp"])
    flows = [flow for _, flow in beside.table.flows()]
    if flows and what > 0.4:  # mostly of a flow that is there
        ends = chance.choice(flows).ends
        who = ends.family, "tcp" if ends.protocol == 6 else "udp"
        cport, service = ends.cport, ends.vport
    if what < 0.7:
        beside.packet(hook, *who, cport, service, chance.choice(["S", "S", "S", "A", "A", "FA", "R", "SA", "PA"]))
    elif what < 0.9:
        if forward_of(service) == "nat":
            beside.reply(hook, *who, cport, service, chance.choice(SERVERS), chance.choice(["SA", "A", "A", "FA", "R"]))
    elif what < 0.96 and flows:
        beside.age(chance.choice(flows))
    elif what < 0.98:
        beside.sweep()
    else:
        beside.serve(*who, service, chance.choice([(1,), (2,), (1, 2), (1, 2)]))


@pytest.mark.parametrize("seed", range(3))
def test_the_programs_do_as_the_model(beside: Beside, seed: int) -> None:
    """Flows, their places, states and servers, loads and counters are the model's after each of many events."""
    play(beside, 10 * beside.table.spill + seed, 150)


def test_the_sequences_go_everywhere(beside: Beside) -> None:
    """The test above is worth something: in a longer sequence of its kind all happens that can."""
    play(beside, 3, 300)
    want = set(COUNTERS) - (set() if beside.table.spill else {"flow_spilled"})
    assert {name for name in COUNTERS if beside.table.counters[name]} == want
    assert beside.director.drops().keys() == {"server_gone"}


def slot_of(beside: Beside, family: int) -> tuple[Any, Any, int, int]:
    """Return the map with the only flow of a family, its bucket's value, and the numbers of bucket and slot."""
    (flow,) = [flow for flow in held(beside.loaded.maps) if flow.family == family]
    buckets = beside.loaded.maps[f"flows{family}"]
    return buckets, buckets.get(flow.bucket).copy(), int(flow.bucket or 0), flow.slot


def low_of(value: Any, family: int, slot: int) -> Any:
    """Return the part of a slot that both kinds have, to be written."""
    one = value["flow"][slot : slot + 1]
    return one["low"] if family == 6 else one


def test_bytes_go_on_counting(beside: Beside, hook: str, family: int) -> None:
    """Beyond 2^30 bytes the rest is in flow_wide, for each direction, and is gone when the flow ends."""
    beside.serve(family, "tcp", 80)
    wide, length = beside.loaded.maps["flow_wide"], 40 if family == 4 else 60
    beside.packet(hook, family, "tcp", 4000, 80, "S")
    server = beside.director.flows()[0].server
    buckets, value, bucket, slot = slot_of(beside, family)
    low = low_of(value, family, slot)
    low["in_bytes"], low["out_bytes"] = (1 << 30) - length, (1 << 30) - 1
    buckets.put(bucket, value)
    beside.packet(hook, family, "tcp", 4000, 80, "A")
    assert beside.director.flows()[0].bytes == (1 << 30, (1 << 30) - 1)
    (place,), _ = wide.items()
    assert place == bucket * abi.WAYS + slot | (abi.PLACE_V6 if family == 6 else 0)
    number = int(server.rpartition(":")[2]) if family == 6 else int(server.rpartition(".")[2])
    beside.reply(hook, family, "tcp", 4000, 80, number, "A")
    beside.packet(hook, family, "tcp", 4000, 80, "A")
    assert beside.director.flows()[0].bytes == ((1 << 30) + length, (1 << 30) - 1 + length)
    assert wide.get(place).tolist() == (1 << 30, 1 << 30)
    ((_, flow),) = beside.table.flows()
    beside.age(flow)
    beside.sweep()
    beside.check()
    assert len(wide.items()[0]) == 0
    beside.packet(hook, family, "tcp", 4000, 80, "S")
    assert beside.director.flows()[0].bytes == (length, 0)


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_a_local_clients_name_goes_with_its_flow(beside: Beside, family: int, forward: str) -> None:
    """However the flow ends: swept, replaced, or found to be over by a packet; and if there was no room for it."""
    director, own = beside.director, net.VIP[family]
    director.serve(family, "udp", forward)
    for port in range(4000, 4003):
        director.packet(packet_of("udp", f"{at(own, port)} > {at(own, 80)}", link=LOCAL), "lo")
    assert director.aliases() == director.live() == 3
    _expire(beside)
    director.packet(packet_of("udp", f"{at(own, 4000)} > {at(own, 80)}", link=LOCAL), "lo")
    assert director.live() == director.aliases()
    _expire(beside)
    beside.loaded.programs["sweep_now"].test_run(bytes(64))
    assert director.live() == director.aliases() == 0
    for port in range(4000, 4060):
        director.packet(packet_of("udp", f"{at(own, port)} > {at(own, 80)}", link=LOCAL), "lo")
    assert director.counters()["flow_full"] > 0
    assert director.live() == director.aliases() == 8 + beside.table.spill


def _expire(beside: Beside) -> None:
    """Let all flows have been idle for too long, but none that comes now."""
    make_older(beside.loaded.maps, LONG_AGO)


def test_the_name_of_another_local_client_stays(beside: Beside, family: int) -> None:
    """Two of the director's addresses with one port share a name: the first flow's end leaves it to the second."""
    director, names = beside.director, {4: "198.51.100.1", 6: "2001:db8:c::1"}
    director.serve(family, "udp", "route")
    to = at(net.VIP[family], 80)
    director.packet(packet_of("udp", f"{at(net.VIP[family], 4000)} > {to}", link=LOCAL), "lo")
    _expire(beside)
    director.packet(packet_of("udp", f"{at(names[family], 4000)} > {to}", link=LOCAL), "lo")
    beside.loaded.programs["sweep_now"].test_run(bytes(64))
    assert director.live() == director.aliases() == 1
    answer = packet_of("udp", f"{to} > {at(net.DIRECTOR[family], 4000)}", link=from_server(1))
    out = director.packet(answer, "tc")
    assert out.packet == packet_of("udp", f"{to} > {at(names[family], 4000)}", link=LOCAL)


def test_a_slot_that_is_being_filled_is_nobodys(beside: Beside, hook: str, family: int) -> None:
    """No packet takes the flow in it for its own, no new flow takes the slot, and the sweep leaves it."""
    beside.serve(family, "tcp", 80)
    beside.packet(hook, family, "tcp", 4000, 80, "S")
    buckets, value, bucket, slot = slot_of(beside, family)
    flow = low_of(value, family, slot)
    before = int(flow["life"][0])
    flow["life"] = before & ~15 | abi.FLOW_BUSY ^ abi.FLOW_FREE
    buckets.put(bucket, value)
    for flags in ("A", "S"):
        way = f"{at(net.CLIENT[family], 4000)} > {at(net.VIP[family], 80)}"
        assert beside.director.packet(packet_of("tcp", way, flags), hook).verdict is (PASS if flags == "A" else SENT)
    beside.loaded.programs["sweep_now"].test_run(bytes(64))
    assert low_of(buckets.get(bucket), family, slot)["life"][0] == before & ~15 | abi.FLOW_BUSY ^ abi.FLOW_FREE
    (other,) = held(beside.loaded.maps)
    assert (other.bucket, other.slot) != (bucket, slot)


def test_ipv6_clients_with_mapped_addresses_expire(beside: Beside) -> None:
    """They are counted where flows of IPv6 are, also in the spill, and no longer once they are gone."""
    director, maps = beside.director, beside.loaded.maps
    director.serve(6, "udp")
    for port in range(4000, 4020):
        director.packet(packet_of("udp", f"[::ffff:198.51.100.7]:{port} > {at(net.VIP[6], 80)}"), "xdp")
    assert faults(maps) == []
    assert director.held() == 8 + beside.table.spill
    _expire(beside)
    beside.loaded.programs["sweep_now"].test_run(bytes(64))
    assert director.held() == 0
    assert faults(maps) == []
