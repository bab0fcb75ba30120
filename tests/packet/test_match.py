"""Firewall marks that xlvs gives packets itself: by prefix, protocol and port, on every hook, without Netfilter."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import PASS, SENT, Director, at
from tests.packet.errors import error
from tests.packet.frames import TO_CLIENT, from_server, packet_of, tcp, to_server, to_vip, udp
from tests.packet.test_fragments import fragments
from tests.packet.test_marks import ELSEWHERE, by_mark, elsewhere
from xlvs.model import Match

NETWORK = {4: "203.0.113.0/28", 6: "2001:db8:9::/64"}
"""Where `ELSEWHERE` is."""
BEYOND = {4: "203.0.113.16", 6: "2001:db8:9:1::9"}


def matched(family: int, *rules: tuple[str, ...]) -> tuple[Match, ...]:
    """Return what matches packets to the network: protocol and ports each."""
    return tuple(Match.parse(NETWORK[family], *rule) for rule in rules or [()])


def test_a_packet_that_matches_has_the_mark(director: Director, hook: str, family: int, protocol: str) -> None:
    """There and back, also once its flow is there; what does not match is the host's."""
    director.put(by_mark(family, match=matched(family, (protocol, "400-499"))))
    for flags in ("S", "A"):
        out = director.packet(packet_of(protocol, elsewhere(family), flags), hook)
        to = f"{at(net.CLIENT[family], 4000)} > {at(net.server(family, 3), 443)}"
        assert (out.verdict, out.packet) == (SENT, packet_of(protocol, to, flags, ttl=63, link=to_server(3)))
    back = f"{at(net.server(family, 3), 443)} > {at(net.CLIENT[family], 4000)}"
    reply = director.packet(packet_of(protocol, back, "SA", link=from_server(3)), hook)
    want = f"{at(ELSEWHERE[family], 443)} > {at(net.CLIENT[family], 4000)}"
    assert reply.packet == packet_of(protocol, want, "SA", ttl=63, link=TO_CLIENT)
    other = "udp" if protocol == "tcp" else "tcp"
    beyond = f"{at(net.CLIENT[family], 4001)} > {at(BEYOND[family], 443)}"
    for sent in (
        packet_of(protocol, elsewhere(family, 4001, 399), "S"),
        packet_of(protocol, elsewhere(family, 4001, 500), "S"),
        packet_of(other, elsewhere(family, 4001), "S"),
        packet_of(protocol, beyond, "S"),
    ):
        assert director.packet(sent, hook).verdict is PASS
    assert director.live() == 1


def test_the_first_rule_that_fits(director: Director, hook: str, family: int) -> None:
    """All rules of the network are gone through in their order."""
    director.put(by_mark(family, match=matched(family, ("udp",), ("tcp", "80"), ("tcp", "443"))))
    assert director.packet(tcp(elsewhere(family), "S"), hook).verdict is SENT
    assert director.packet(tcp(elsewhere(family, dport=444), "S"), hook).verdict is PASS
    assert director.packet(udp(elsewhere(family, dport=444)), hook).verdict is SENT


def test_a_rule_of_the_other_family_is_none(director: Director, hook: str, family: int) -> None:
    """Though all IPv4 addresses are mapped IPv6 ones in the map."""
    everything = "0.0.0.0/0" if family == 6 else "::/0"
    director.put(by_mark(10 - family, match=(Match.parse(everything),)))
    assert director.packet(tcp(elsewhere(family), "S"), hook).verdict is PASS
    assert director.packet(tcp(elsewhere(10 - family), "S"), hook).verdict is SENT


def test_it_wins_over_the_address(director: Director, hook: str, family: int) -> None:
    """As Netfilter's mark does, which is not waited for where a rule fits."""
    director.service(f"{at(net.VIP[family], 80)}/tcp", f"{at(net.server(family, 5), 8080)} nat")
    director.await_marks()
    director.put(by_mark(family, match=(Match.parse(net.VIP[family], "tcp", "80"),)))
    out = director.packet(tcp(to_vip(family), "S"), hook)
    assert out.packet[:6].hex(":") == net.server_mac(3)
    assert director.packet(udp(to_vip(family)), hook).verdict is PASS


def test_clients_keep_their_server_for_all_ports(director: Director, hook: str, family: int) -> None:
    """The template is the mark's."""
    director.put(by_mark(family, persistent=300, match=matched(family)))
    for protocol in ("tcp", "udp"):
        for dport in (80, 443):
            out = director.packet(packet_of(protocol, elsewhere(family, 4000, dport), "S"), hook)
            assert out.packet[:6].hex(":") == net.server_mac(3)
    assert director.states().count("ASSURED") == 1


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_other_methods(director: Director, hook: str, family: int, forward: str) -> None:
    """The packet travels as it is."""
    director.put(by_mark(family, forward=forward, match=matched(family)))
    out = director.packet(tcp(elsewhere(family), "S"), hook)
    assert out.verdict is SENT
    inner = out.packet.ip if forward == "route" else out.packet.ip[20 if family == 4 else 40 :]
    assert inner == tcp(elsewhere(family), "S", ttl=63).ip


def test_fragments_and_errors_find_their_flow(director: Director, family: int) -> None:
    """Later fragments have the first one's ports; an ICMP error has a quote."""
    director.put(by_mark(family, match=matched(family, ("udp", "443"))))
    for sent in fragments(elsewhere(family)):
        out = director.packet(sent)
        assert (out.verdict, out.packet[:6].hex(":")) == (SENT, net.server_mac(3))
    back = f"{at(ELSEWHERE[family], 443)} > {at(net.CLIENT[family], 4000)}"
    out = director.packet(error("unreachable", net.CLIENT[family], ELSEWHERE[family], udp(back).ip))
    assert (out.verdict, out.packet[:6].hex(":")) == (SENT, net.server_mac(3))


def test_no_rules_any_more(director: Director, hook: str, family: int) -> None:
    """Packets are the host's again."""
    director.put(by_mark(family, match=matched(family)))
    director.forget_matches()
    assert director.packet(tcp(elsewhere(family), "S"), hook).verdict is PASS
