"""Shortcuts on the way to a known flow: hints that promise too much, and slots that two interfaces want."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import PASS, SENT, Director
from tests.packet.frames import TO_CLIENT, at, from_real, from_server, from_vip, packet_of, to_real, to_server, to_vip
from xlvs.dataplane import _abi as abi

EVERYTHING = abi.ADDR_VIP | abi.ADDR_SERVER | abi.ADDR_DIRECTOR


def elsewhere(family: int) -> str:
    """From the client to an address that is nobody's."""
    return f"{at(net.CLIENT[family], 4000)} > {at({4: '192.0.2.77', 6: '2001:db8::77'}[family], 80)}"


@pytest.mark.parametrize("flags", range(1, EVERYTHING + 1))
def test_an_address_that_shares_a_hint_passes(
    director: Director, hook: str, family: int, protocol: str, flags: int
) -> None:
    """A packet whose addresses only look like ours is left as it is, and counted nowhere."""
    director.serve(family, protocol)
    frame = packet_of(protocol, elsewhere(family))
    for address in elsewhere(family).replace(">", "").split():
        director.mislead(address.rpartition(":")[0].strip("[]"), flags)
    out = director.packet(frame, hook)
    assert (out.verdict, out.packet) == (PASS, frame)
    assert (director.drops(), director.counters()) == ({}, {})


@pytest.mark.parametrize("flags", range(1, EVERYTHING + 1))
def test_a_client_that_shares_a_hint_is_served(
    director: Director, hook: str, family: int, protocol: str, flags: int
) -> None:
    """What the hint says of a client's address changes neither its request nor the reply."""
    director.serve(family, protocol)
    director.mislead(net.CLIENT[family], flags)
    for _ in range(2):
        out = director.packet(packet_of(protocol, to_vip(family)), hook)
        assert (out.verdict, out.packet) == (
            SENT,
            packet_of(protocol, to_real(family), ttl=63, link=to_server(1)),
        )
    out = director.packet(packet_of(protocol, from_real(family), "SA", link=from_server(1)), hook)
    assert (out.verdict, out.packet) == (SENT, packet_of(protocol, from_vip(family), "SA", ttl=63, link=TO_CLIENT))


def test_a_daemon_that_starts_keeps_the_hints_that_hold(director: Director, hook: str, family: int) -> None:
    """Hints of addresses that have gone are dropped, those of services and servers stay."""
    director.serve(family, "tcp")
    held = director.hints()
    director.mislead(elsewhere(family).split()[-1].rpartition(":")[0].strip("[]"), EVERYTHING)
    assert (held, director.hints()) == (2, 5)
    director.renew_hints()
    assert director.hints() == held
    assert director.packet(packet_of("tcp", to_vip(family)), hook).verdict is SENT
    assert director.packet(packet_of("tcp", from_real(family), "SA", link=from_server(1)), hook).verdict is SENT


def test_an_interface_whose_slot_is_taken_takes_nothing_away(director: Director, family: int) -> None:
    """XDP goes on at the interface that was there first, when another with the same slot comes and goes."""
    director.serve(family, "tcp")
    for name in ("outside", "inside"):
        director.crowd_interface(name)
    out = director.packet(packet_of("tcp", to_vip(family)), "xdp")
    assert (out.verdict, out.packet) == (SENT, packet_of("tcp", to_real(family), ttl=63, link=to_server(1)))
