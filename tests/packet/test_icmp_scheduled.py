"""schedule_icmp: an error about a packet of a service opens the flow that it is of (ip_vs_in_icmp)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at, real
from tests.packet.errors import KINDS, error, translated
from tests.packet.frames import Frame, ends, from_real, from_vip, packet_of, tcp, to_server, to_vip

STATES = {"tcp": "NONE", "udp": "UDP"}


@pytest.fixture(autouse=True)
def scheduling(director: Director) -> Iterator[None]:
    """Switch it on for each test."""
    director.configure(sysctls={"schedule_icmp": "1"})
    yield
    director.configure()


def about_reply(family: int, protocol: str, kind: str = "too-big") -> tuple[Frame, Frame]:
    """Return an error to the virtual address, and the packet from there that it is about."""
    quote = packet_of(protocol, from_vip(family), "A", payload=b"z" * 100)
    way = ends(to_vip(family))
    return error(kind, way.src, way.dst, quote.ip, mtu=1400), quote


@pytest.mark.parametrize("kind", KINDS)
def test_it_opens_a_flow_behind_nat(director: Director, family: int, protocol: str, kind: str) -> None:
    """The error goes to the server that was chosen, which the flow then has; it does not count as active."""
    director.serve(family, protocol)
    sent, quote = about_reply(family, protocol, kind)
    out = director.packet(sent)
    inner = translated(quote, from_real(family), protocol, payload=b"z" * 100)
    way = ends(to_vip(family))
    want = error(kind, way.src, net.server(family, 1), inner, mtu=1400, ttl=63, link=to_server(1))
    assert (out.verdict, out.packet) == (SENT, want)
    (flow,) = director.flows()
    assert (flow.state, flow.server) == (STATES[protocol], net.server(family, 1))
    assert director.load(real(family)) == (0, 1)
    assert director.drops() == {}


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_it_opens_a_flow_of_other_methods(director: Director, family: int, protocol: str, forward: str) -> None:
    """They send the error as it is."""
    director.serve(family, protocol, forward)
    sent, _ = about_reply(family, protocol)
    out = director.packet(sent)
    assert out.verdict is SENT
    assert out.packet.ip.endswith(sent.ip[12 if family == 4 else 8 :])  # from the addresses on
    assert [flow.state for flow in director.flows()] == [STATES[protocol]]


def test_the_clients_next_segment_goes_on_with_it(director: Director, family: int) -> None:
    """To the same server, and the connection is established (tcp_states, the row of an ACK)."""
    director.serve(family, "tcp")
    director.packet(about_reply(family, "tcp")[0])
    out = director.packet(tcp(to_vip(family), "A"))
    assert (out.verdict, out.packet[:6].hex(":")) == (SENT, net.server_mac(1))
    assert [flow.state for flow in director.flows()] == ["ESTABLISHED"]


def test_without_the_switch_it_is_the_hosts(director: Director, family: int, protocol: str) -> None:
    """As is an error about a packet of no service, with it."""
    director.serve(family, protocol)
    sent, _ = about_reply(family, protocol)
    director.configure()
    out = director.packet(sent)
    assert (out.verdict, out.packet, director.flows()) == (PASS, sent, [])
    director.configure(sysctls={"schedule_icmp": "1"})
    other = packet_of(protocol, f"{at(net.VIP[family], 81)} > {at(net.CLIENT[family], 4000)}", "A")
    strange = error("too-big", net.CLIENT[family], net.VIP[family], other.ip)
    out = director.packet(strange)
    assert (out.verdict, out.packet, director.flows()) == (PASS, strange, [])


def test_without_a_server_it_is_dropped(director: Director, family: int, protocol: str) -> None:
    """Nobody answers an ICMP error with another."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}")
    assert director.packet(about_reply(family, protocol)[0]).verdict is DROP
    assert director.drops() == {"no_server": 1}


def test_a_flow_that_is_there_is_not_opened_again(director: Director, family: int, protocol: str) -> None:
    """It keeps its state."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)))
    before = [flow.state for flow in director.flows()]
    assert director.packet(about_reply(family, protocol)[0]).verdict is SENT
    assert [flow.state for flow in director.flows()] == before
