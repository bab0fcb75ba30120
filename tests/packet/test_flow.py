"""The flow table: who gets a flow, who keeps one, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at, real
from tests.packet.frames import (
    TO_CLIENT,
    from_real,
    from_server,
    from_vip,
    packet_of,
    tcp,
    to_real,
    to_server,
    to_vip,
    udp,
)
from tests.packet.network import Network
from xlvs.demo.wait import until

MANY = 700
"""More flows than the expiry timer looks at in one tick."""


def key(family: int, protocol: str) -> str:
    """The service's key."""
    return f"{at(net.VIP[family], 80)}/{protocol}"


def wait_past(moment_ns: int) -> None:
    """Wait until the programs' clock, which moves once a tick, is past *moment_ns*, and then two ticks of 100 Hz."""
    until(lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC) > moment_ns + 20_000_000, "the clock stands still")


def test_a_server_of_weight_zero_takes_no_new_flow(director: Director, hook: str, family: int, protocol: str) -> None:
    """Flows it has go on; new ones go elsewhere."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)), hook)
    director.service(key(family, protocol), f"{real(family)} nat w=0", f"{real(family, 'nat', 2)} nat w=1")
    for port in range(5000, 5004):
        out = director.packet(packet_of(protocol, to_vip(family, port)), hook)
        assert out.packet == packet_of(protocol, to_real(family, 2, port), ttl=63, link=to_server(2))
    out = director.packet(packet_of(protocol, to_vip(family), "A"), hook)
    assert out.packet == packet_of(protocol, to_real(family), "A", ttl=63, link=to_server(1))


@pytest.mark.parametrize("forward", ["nat", "route", "ipip"])
def test_packets_of_a_deleted_server_are_dropped(
    director: Director, hook: str, family: int, protocol: str, forward: str
) -> None:
    """Its flows wait, counted, for the server to come back; no other server gets their packets."""
    first, second = (f"{real(family, forward, n)} {forward}" for n in (1, 2))
    director.serve(family, protocol, forward)
    director.packet(packet_of(protocol, to_vip(family)), hook)
    director.service(key(family, protocol), second)
    assert director.packet(packet_of(protocol, to_vip(family), "A"), hook).verdict is DROP
    assert director.drops() == {"server_gone": 1}
    assert director.live() == 1
    director.service(key(family, protocol), second, first)
    assert director.packet(packet_of(protocol, to_vip(family), "A"), hook).verdict is SENT
    assert director.drops() == {"server_gone": 1}


def test_flows_outlive_their_service(director: Director, hook: str, family: int, protocol: str) -> None:
    """A deleted service opens no flow, but both directions of its old ones are forwarded."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)), hook)
    director.delete_service(key(family, protocol))
    out = director.packet(packet_of(protocol, to_vip(family), "A"), hook)
    assert out.packet == packet_of(protocol, to_real(family), "A", ttl=63, link=to_server(1))
    out = director.packet(packet_of(protocol, from_real(family), "A", link=from_server(1)), hook)
    assert out.packet == packet_of(protocol, from_vip(family), "A", ttl=63, link=TO_CLIENT)
    fresh = packet_of(protocol, to_vip(family, 4001))
    out = director.packet(fresh, hook)
    assert (out.verdict, out.packet) == (PASS, fresh)


def test_a_service_without_servers_opens_no_flow(director: Director, hook: str, family: int) -> None:
    """XDP leaves the answer to TC, which refuses by ICMP (see test_icmp_sent.py)."""
    director.service(key(family, "tcp"))
    out = director.packet(tcp(to_vip(family), "S"), hook)
    assert out.verdict is (PASS if hook == "xdp" else SENT)
    assert director.flows() == []
    assert director.live() == 0


@pytest.mark.parametrize("end", [["FA", "A"], ["R"]])
def test_a_syn_on_a_finished_flow_is_scheduled_anew(director: Director, hook: str, family: int, end: list[str]) -> None:
    """In TIME_WAIT or CLOSE the client may use its port again, and gets the next server (conn_reuse_mode 1)."""
    director.service(key(family, "tcp"), f"{real(family)} nat", f"{real(family, 'nat', 2)} nat")
    for who, flags in ((">", "S"), ("<", "SA"), (">", "A"), ("<", "FA"), *((">", flags) for flags in end)):
        if who == ">":
            director.packet(tcp(to_vip(family), flags), hook)
        else:
            director.packet(tcp(from_real(family, 2), flags, link=from_server(2)), hook)
    assert director.states()[0] in ("TIME_WAIT", "CLOSE")
    assert director.load(real(family, "nat", 2)) == (0, 1)
    out = director.packet(tcp(to_vip(family), "S"), hook)
    assert out.packet == tcp(to_real(family), "S", ttl=63, link=to_server(1))
    assert director.states() == ["SYN_RECV"]
    assert director.load(real(family, "nat", 2)) == (0, 0)
    assert director.load(real(family)) == (1, 0)
    assert director.live() == 1


def test_a_syn_on_a_living_flow_is_not(director: Director, hook: str, family: int) -> None:
    """A retransmitted SYN, or one in the middle, follows its flow."""
    director.service(key(family, "tcp"), f"{real(family)} nat", f"{real(family, 'nat', 2)} nat")
    for flags in ("S", "S", "A", "S"):
        out = director.packet(tcp(to_vip(family), flags), hook)
        assert out.packet == tcp(to_real(family, 2), flags, ttl=63, link=to_server(2))
    assert director.stats(real(family, "nat", 2))[0] == 1


def test_an_idle_flow_is_gone_at_once(director: Director, hook: str, family: int, protocol: str) -> None:
    """A packet of a flow past its time is one without a flow, whether or not the timer was there before."""
    director.configure(idle_s={"SYN_RECV": 0.02, "UDP": 0.02})
    director.service(key(family, protocol), f"{real(family)} nat", f"{real(family, 'nat', 2)} nat")
    director.packet(packet_of(protocol, to_vip(family)), hook)
    until(lambda: not director.flows(), "the flow is still there")
    wait_past(time.clock_gettime_ns(time.CLOCK_MONOTONIC))  # a packet's clock may be a tick behind
    assert director.held() == 1
    reply = packet_of(protocol, from_real(family, 2), "SA", link=from_server(2))
    out = director.packet(reply, hook)
    assert (out.verdict, out.packet) == (PASS, reply)
    assert director.live() == 0
    assert director.load(real(family, "nat", 2)) == (0, 0)
    out = director.packet(packet_of(protocol, to_vip(family)), hook)
    assert out.packet == packet_of(protocol, to_real(family), ttl=63, link=to_server(1))
    assert director.counters()["flow_expired"] == 1


def test_packets_keep_a_flow_alive(director: Director, hook: str, family: int, protocol: str) -> None:
    """The time counts from the last packet, of either direction, not from the first."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)), hook)
    for frame in (
        packet_of(protocol, from_real(family), "A", link=from_server(1)),
        packet_of(protocol, to_vip(family), "A"),
    ):
        until(lambda: director.flows()[0].idle > 20, "no time passes")
        before = director.flows()[0].idle
        assert director.packet(frame, hook).verdict is SENT
        assert director.flows()[0].idle < before


def test_a_full_table_harms_no_flow_and_serves_new_ones(
    director: Director, hook: str, family: int, protocol: str
) -> None:
    """The ninth flow of a table of eight goes, statelessly, always to one server, and its replies come back."""
    director.configure(buckets=2, spill=0)
    servers = [f"{real(family, 'nat', n)} nat" for n in (1, 2, 3)]
    director.service(key(family, protocol), *servers)
    for port in range(4000, 4008):
        for flags in ("S", "A"):
            director.packet(packet_of(protocol, to_vip(family, port), flags), hook)
    before = director.flows()
    for port in range(5000, 5020):
        out = director.packet(packet_of(protocol, to_vip(family, port)), hook)
        number = out.packet[5]
        assert out.packet == packet_of(protocol, to_real(family, number, port), ttl=63, link=to_server(number))
        for flags in ("A", "PA", "FA"):
            out = director.packet(packet_of(protocol, to_vip(family, port), flags), hook)
            assert out.packet == packet_of(
                protocol, to_real(family, number, port), flags, ttl=63, link=to_server(number)
            )
        reply = packet_of(protocol, from_real(family, number, port), "A", link=from_server(number))
        out = director.packet(reply, hook)
        assert out.packet == packet_of(protocol, from_vip(family, port), "A", ttl=63, link=TO_CLIENT)
    assert [flow.client for flow in director.flows()] == [flow.client for flow in before]
    assert director.live() == 8
    assert director.drops() == {}
    # Every packet of UDP may be a flow's first, and of TCP only a SYN.
    assert director.counters()["flow_full"] == (20 if protocol == "tcp" else 80)
    assert director.counters()["stateless"] == 100
    for number in (1, 2, 3):
        conns, packets, replies, _, _ = director.stats(real(family, "nat", number))
        mine = sum(flow.server == net.server(family, number) for flow in before)
        assert replies > 0
        assert packets == 2 * mine + 4 * replies
        assert conns == mine + replies * (1 if protocol == "tcp" else 4)
    for port in range(4000, 4008):
        assert director.packet(packet_of(protocol, to_vip(family, port), "A"), hook).verdict is SENT
    assert director.counters()["stateless"] == 100


def test_a_full_table_does_not_make_replies_of_strangers(director: Director, hook: str, family: int) -> None:
    """In an overflow a packet from a service port of the server that was not the client's choice passes."""
    director.crowd()
    director.service(key(family, "udp"), *(f"{real(family, 'nat', n)} nat" for n in (1, 2, 3)))
    for port in (4000, 4001):
        director.packet(udp(to_vip(family, port)), hook)
    served = director.packet(udp(to_vip(family, 4002)), hook).packet[5]
    other = next(n for n in (1, 2, 3) if n != served)
    stray = udp(from_real(family, other, 4002), link=from_server(other))
    out = director.packet(stray, hook)
    assert (out.verdict, out.packet) == (PASS, stray)


def test_flows_beyond_two_buckets_go_into_the_spill(director: Director, hook: str, family: int) -> None:
    """Of twelve flows eight lie in two buckets, the rest in the spill; both ways find all."""
    director.configure(buckets=2)
    director.serve(family, "udp")
    for port in range(4000, 4012):
        director.packet(udp(to_vip(family, port)), hook)
    counters = director.counters()
    assert (counters["flow_opened"], counters["flow_spilled"], director.held()) == (12, 4, 12)
    for port in range(4000, 4012):
        out = director.packet(udp(to_vip(family, port)), hook)
        assert out.packet == udp(to_real(family, 1, port), ttl=63, link=to_server(1))
        out = director.packet(udp(from_real(family, 1, port), link=from_server(1)), hook)
        assert out.packet == udp(from_vip(family, port), ttl=63, link=TO_CLIENT)


def test_a_flow_nobody_uses_makes_room(director: Director, hook: str, family: int) -> None:
    """In a full table a connection half open for a second, the oldest, goes for a new one; an open one never does."""
    director.configure(buckets=2, spill=0)
    director.serve(family, "tcp")
    for port in range(4000, 4008):
        director.packet(tcp(to_vip(family, port), "S"), hook)
        if port < 4006:
            director.packet(tcp(to_vip(family, port), "A"), hook)
    for port in range(5000, 5100):
        director.make_older(1)
        assert director.packet(tcp(to_vip(family, port), "S"), hook).verdict is SENT
    assert director.counters()["flow_reclaimed"] == 100
    assert "flow_full" not in director.counters()
    established = [flow.client[1] for flow in director.flows() if flow.state == "ESTABLISHED"]
    assert established == list(range(4000, 4006))
    assert director.load(real(family)) == (8, 0)


def test_a_connection_that_has_just_begun_makes_no_room(director: Director, hook: str, family: int) -> None:
    """Its client's ACK is on the way: in a full table a second SYN goes without a flow, not in its place."""
    director.configure(buckets=2, spill=0)
    director.serve(family, "tcp")
    for port in (*range(4000, 4008), 5000):
        assert director.packet(tcp(to_vip(family, port), "S"), hook).verdict is SENT
    assert sorted(flow.client[1] for flow in director.flows()) == list(range(4000, 4008))
    assert director.counters()["flow_full"] == 1


def test_a_slot_is_used_again(director: Director, hook: str, family: int) -> None:
    """Flows that end make room: eight slots serve four hundred flows one after another."""
    director.configure(buckets=2, spill=0)
    director.serve(family, "tcp")
    for _ in range(50):
        for port in range(4000, 4008):
            director.packet(tcp(to_vip(family, port), "S"), hook)
            director.packet(tcp(to_vip(family, port), "R"), hook)
            director.packet(tcp(from_real(family, 1, port), "R", link=from_server(1)), hook)
        assert director.states() == ["CLOSE"] * 8
        assert director.load(real(family)) == (0, 8)
    assert director.counters()["flow_opened"] == 400
    assert director.counters()["flow_expired"] == 392
    assert "flow_full" not in director.counters()
    assert director.held() == 8


def test_flows_of_one_client_port_to_two_services_are_two(director: Director, hook: str, family: int) -> None:
    """TCP and UDP, and two ports of one address, do not share flows."""
    address = at(net.VIP[family], 0)[:-1]
    director.service(f"{address}80/tcp", f"{real(family)} nat")
    director.service(f"{address}80/udp", f"{real(family, 'nat', 2)} nat")
    director.service(f"{address}81/tcp", f"{real(family, 'nat', 3)} nat")
    assert director.packet(tcp(to_vip(family), "S"), hook).packet[5] == 1
    assert director.packet(udp(to_vip(family)), hook).packet[5] == 2
    assert director.packet(tcp(to_vip(family)[:-1] + "1", "S"), hook).packet[5] == 3
    assert director.live() == 3


def test_of_two_flows_with_the_same_replies_the_newer_has_them(director: Director, hook: str, family: int) -> None:
    """One client port to two services of one nat server: replies are the newer flow's, whenever the older ends."""
    address = at(net.VIP[family], 0)[:-1]
    for port in (80, 81):
        director.service(f"{address}{port}/tcp", f"{real(family)} nat")
    director.configure(idle_s={"CLOSE": 0})
    older, newer = to_vip(family), to_vip(family)[:-1] + "1"
    director.packet(tcp(older, "S"), hook)
    director.packet(tcp(newer, "S"), hook)
    for flags in ("A", "R"):
        director.packet(tcp(older, flags), hook)
    assert director.live() == 2
    wait_past(time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    assert director.packet(tcp(older, "A"), hook).verdict is PASS
    assert director.live() == 1
    out = director.packet(tcp(from_real(family), "A", link=from_server(1)), hook)
    assert out.packet == tcp(from_vip(family).replace(":80 ", ":81 "), "A", ttl=63, link=TO_CLIENT)


def test_a_finished_flow_of_a_quiet_server_may_move(director: Director, hook: str, family: int) -> None:
    """A SYN on a flow in TIME_WAIT at a server of weight 0 goes to a server with a weight."""
    director.service(key(family, "tcp"), f"{real(family)} nat")
    for flags in ("S", "FA"):
        director.packet(tcp(to_vip(family), flags), hook)
    assert director.states() == ["TIME_WAIT"]
    director.service(key(family, "tcp"), f"{real(family)} nat w=0", f"{real(family, 'nat', 2)} nat")
    out = director.packet(tcp(to_vip(family), "S"), hook)
    assert out.packet == tcp(to_real(family, 2), "S", ttl=63, link=to_server(2))


@pytest.fixture
def swept(network: Network) -> Iterator[Director]:
    """A director of its own, whose expiry timer runs until its maps are gone."""
    with network.inside():
        director, loaded = Director.loaded(flows=MANY)
        director.sweep()
        yield director
        loaded.close()


def test_the_timer_ends_idle_flows(swept: Director, family: int) -> None:
    """Without a packet more, idle flows leave the table and the servers' loads return to 0; busy ones stay."""
    swept.serve(family, "tcp")
    swept.serve(family, "udp")
    for port in range(4000, 4020):
        swept.packet(tcp(to_vip(family, port), "S"))
        swept.packet(udp(to_vip(family, port)))
        if port % 2:
            swept.packet(tcp(to_vip(family, port), "A"))
        if port % 4 == 3:
            swept.packet(tcp(to_vip(family, port), "R"))
    swept.configure(idle_s={"SYN_RECV": 0.05, "CLOSE": 0.05, "UDP": 0.05})
    until(lambda: swept.live() == 5, "flows that were idle for too long stayed")
    assert swept.states() == ["ESTABLISHED"] * 5
    assert [f.client[1] % 4 for f in swept.flows()] == [1] * 5
    assert swept.load(real(family)) == (5, 0)
    assert swept.counters()["flow_expired"] == 35
    assert swept.held() == 5


def test_the_timer_reaches_the_whole_table(swept: Director) -> None:
    """More flows than it looks at in one tick all end."""
    swept.serve(4, "udp")
    for port in range(1000, 1000 + MANY):
        swept.packet(udp(to_vip(4, port)))
    assert swept.live() == MANY
    swept.configure(idle_s={"UDP": 0})
    until(lambda: swept.live() == 0, "flows at the end of the table stayed")
    assert swept.load(real(4)) == (0, 0)
    assert swept.held() == 0


def test_arming_the_timer_again_keeps_it_going(swept: Director) -> None:
    """A second start hands the running timer to its own program."""
    for _ in range(3):
        swept.sweep()
        before = swept.counters().get("sweeps", 0)
        until(lambda before=before: swept.counters().get("sweeps", 0) > before + 1, "the timer stands still")
