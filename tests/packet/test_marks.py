"""Services by firewall mark: what Netfilter brings to the marker, its mark says whose it is (ip_vs_service_find)."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at
from tests.packet.errors import error
from tests.packet.frames import (
    TO_CLIENT,
    at_marker,
    from_server,
    packet_of,
    tcp,
    to_server,
    to_vip,
    udp,
)
from xlvs.dataplane import _abi as abi
from xlvs.model import Address, Match, Server, Service, ServiceKey

ELSEWHERE = {4: "203.0.113.9", 6: "2001:db8:9::9"}
"""An address that no service has."""


def by_mark(family: int, mark: int = 7, *, port: int = 0, forward: str = "nat", **more: object) -> Service:
    """Return a round-robin service of three servers."""
    servers = tuple(Server(Address.parse(net.server(family, n)), port, forward, 1) for n in (1, 2, 3))
    return Service(ServiceKey.of_mark(mark, family), "rr", servers=servers, **more)  # type: ignore[arg-type]


def elsewhere(family: int, sport: int = 4000, dport: int = 443) -> str:
    """From the client to an address that no service has."""
    return f"{at(net.CLIENT[family], sport)} > {at(ELSEWHERE[family], dport)}"


def test_a_mark_says_whose_a_packet_is(director: Director, family: int, protocol: str) -> None:
    """Any address and port; nat keeps the port if the server has none, and the TTL counts one hop for both of us."""
    director.put(by_mark(family))
    for number, dport in ((3, 443), (2, 22)):
        sent = packet_of(protocol, elsewhere(family, dport=dport))
        out = director.packet(at_marker(sent), "mark", mark=7)
        to = f"{at(net.CLIENT[family], 4000)} > {at(net.server(family, number), dport)}"
        assert (out.verdict, out.packet) == (SENT, packet_of(protocol, to, ttl=63, link=to_server(number)))
        back = f"{at(net.server(family, number), dport)} > {at(net.CLIENT[family], 4000)}"
        reply = director.packet(packet_of(protocol, back, "SA", link=from_server(number)))
        want = f"{at(ELSEWHERE[family], dport)} > {at(net.CLIENT[family], 4000)}"
        assert reply.packet == packet_of(protocol, want, "SA", ttl=63, link=TO_CLIENT)


def test_a_server_with_a_port_has_it_translated(director: Director, family: int, protocol: str) -> None:
    """Unless the service is persistent (ip_vs_sched_persist)."""
    for persistent, dport in ((0, 8080), (60, 443)):
        director.put(by_mark(family, 7 + persistent, port=8080, persistent=persistent))
        sent = packet_of(protocol, elsewhere(family, 4000 + persistent))
        out = director.packet(at_marker(sent), "mark", mark=7 + persistent)
        to = f"{at(net.CLIENT[family], 4000 + persistent)} > {at(net.server(family, 3), dport)}"
        assert out.packet == packet_of(protocol, to, ttl=63, link=to_server(3))


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_other_methods(director: Director, family: int, forward: str) -> None:
    """The packet travels as it is."""
    director.put(by_mark(family, forward=forward))
    out = director.packet(at_marker(tcp(elsewhere(family), "S")), "mark", mark=7)
    assert out.verdict is SENT
    inner = out.packet.ip if forward == "route" else out.packet.ip[20 if family == 4 else 40 :]
    assert inner == tcp(elsewhere(family), "S", ttl=63).ip


def test_another_mark_passes_as_it_came(director: Director, family: int) -> None:
    """Also none, also one of the other family: it leaves the marker, and the host has it with the TTL it came with."""
    director.put(by_mark(family))
    director.put(by_mark(10 - family, 8))
    sent = tcp(elsewhere(family), "S")
    for mark in (0, 8, 9):
        out = director.packet(at_marker(sent), "mark", mark=mark)
        assert (out.verdict, out.packet) == (PASS, sent)
    assert director.flows() == []


@pytest.mark.parametrize("marked_by", ["netfilter", "match"])
def test_without_a_server_what_was_asked_for_elsewhere_gets_there(
    director: Director, family: int, protocol: str, marked_by: str
) -> None:
    """cache_bypass: refused by default, else the host's to send on, unless it is for the host (ip_vs_leave)."""
    everything = Match.parse("0.0.0.0/0" if family == 4 else "::/0")
    service = by_mark(family, match=(everything,) if marked_by == "match" else ()).with_servers(())

    def passes(address: str) -> bool:
        sent = packet_of(protocol, f"{at(net.CLIENT[family], 4000)} > {at(address, 443)}")
        out = director.packet(sent) if service.match else director.packet(at_marker(sent), "mark", mark=7)
        return (out.verdict, out.packet) == (PASS, sent)

    director.put(service)
    assert not passes(net.server(family, 5))
    director.configure(sysctls={"cache_bypass": "1"})
    director.put(service)
    assert passes(net.server(family, 5))
    assert not passes(net.VIP[family])
    director.configure()


def test_the_mark_wins(director: Director, family: int) -> None:
    """A packet that is of both goes to the service by mark, the same unmarked to the one by address."""
    director.service(f"{at(net.VIP[family], 80)}/tcp", f"{at(net.server(family, 5), 8080)} nat")
    director.put(by_mark(family))
    director.await_marks()
    for hook in ("tc", "xdp"):
        sent = tcp(to_vip(family), "S")
        out = director.packet(sent, hook)
        assert (out.verdict, out.packet) == (PASS, sent)
    marked = director.packet(at_marker(tcp(to_vip(family), "S")), "mark", mark=7)
    assert marked.packet[:6].hex(":") == net.server_mac(3)
    plain = director.packet(at_marker(tcp(to_vip(family, 4001), "S")), "mark")
    assert plain.packet[:6].hex(":") == net.server_mac(5)
    for hook in ("tc", "xdp"):  # a flow that is there needs no mark
        out = director.packet(tcp(to_vip(family, 4001)), hook)
        assert out.packet[:6].hex(":") == net.server_mac(5)


def test_a_datagram_without_df_stays_one(director: Director) -> None:
    """Netfilter's duplicate has DF; the chain says by its priority that the original had not."""
    director.put(by_mark(4, forward="route"))
    for df in (True, False):
        sent = udp(elsewhere(4), df=df)
        duplicate = at_marker(udp(elsewhere(4), df=True))
        out = director.packet(duplicate, "mark", mark=7, priority=0 if df else abi.MARKER_NO_DF)
        assert out.packet.ip == udp(elsewhere(4), df=df, ttl=63).ip, sent


def test_no_server_is_told_to_the_client(director: Director, family: int) -> None:
    """In the name of the address that was asked for, by way of the host's stack."""
    director.put(by_mark(family).with_servers(()))
    director.await_marks()
    out = director.packet(at_marker(tcp(elsewhere(family), "S")), "mark", mark=7)
    assert out.verdict in (SENT, DROP)
    assert director.drops() == {"no_server": 1}
    assert director.counters()["icmp_sent"] == 1


def test_a_client_keeps_its_server_for_all_ports(director: Director, family: int) -> None:
    """One template, of the mark, whatever the protocol."""
    director.put(by_mark(family, persistent=300))
    for protocol in ("tcp", "udp"):
        for dport in (80, 443):
            sent = packet_of(protocol, elsewhere(family, 4000, dport))
            out = director.packet(at_marker(sent), "mark", mark=7)
            assert out.packet[:6].hex(":") == net.server_mac(3)
    assert [flow.state for flow in director.flows()].count("ASSURED") == 1


def test_one_packet_scheduling_by_mark(director: Director, family: int) -> None:
    """Datagrams have no flow, connections do (ip_vs_schedule)."""
    director.put(by_mark(family, ops=True))
    for number in (3, 2, 1):
        out = director.packet(at_marker(udp(elsewhere(family))), "mark", mark=7)
        assert out.packet[:6].hex(":") == net.server_mac(number)
    assert director.flows() == []
    director.packet(at_marker(tcp(elsewhere(family), "S")), "mark", mark=7)
    assert director.states() == ["SYN_RECV"]


def test_errors_about_its_packets_find_their_flow(director: Director, family: int) -> None:
    """A client's or router's ICMP error to an address that no service has goes to the real server."""
    director.put(by_mark(family))
    director.await_marks()
    director.packet(at_marker(tcp(elsewhere(family), "S")), "mark", mark=7)
    back = f"{at(ELSEWHERE[family], 443)} > {at(net.CLIENT[family], 4000)}"
    sent = error("unreachable", net.CLIENT[family], ELSEWHERE[family], tcp(back, "SA").ip)
    out = director.packet(sent)
    assert (out.verdict, out.packet[:6].hex(":")) == (SENT, net.server_mac(3))
