"""The next hop that a flow remembers for a moment: used while it is right, never for long when it is not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.packet import network as net
from tests.packet.director import SENT, Director, at, real
from tests.packet.frames import FROM_CLIENT, from_real, from_server, from_vip, tcp, to_real, to_server, to_vip

OTHER_MAC = "02:00:00:00:02:77"
PATIENCE_S = 10


@pytest.fixture
def moved(director: Director, family: int) -> Iterator[Director]:
    """A director with a flow to server 1, whose MAC address has changed since."""
    director.serve(family, "tcp")
    for flags in ("S", "A"):
        assert director.packet(tcp(to_vip(family), flags), "tc").verdict is SENT
    _neighbour(net.server(family, 1), OTHER_MAC)
    yield director
    _neighbour(net.server(family, 1), net.server_mac(1))


def _neighbour(address: str, mac: str) -> None:
    subprocess.run(
        ["ip", "neighbour", "replace", address, "lladdr", mac, "dev", "inside", "nud", "permanent"], check=True
    )


def _moved_to(director: Director, hook: str, family: int) -> bool:
    out = director.packet(tcp(to_vip(family)), hook)
    old, new = (tcp(to_real(family), ttl=63, link=(to_server(1)[0], mac)) for mac in (net.server_mac(1), OTHER_MAC))
    assert out.packet in (old, new)
    return bool(out.packet == new)


def test_a_change_of_routes_counts_at_once(moved: Director, hook: str, family: int) -> None:
    """The daemon counts the epoch up, and the next packet asks again."""
    moved.forget_hops()
    assert _moved_to(moved, hook, family)


def test_without_a_daemon_it_is_forgotten_by_itself(moved: Director, hook: str, family: int) -> None:
    """Half a second later nobody uses the old next hop any more."""
    deadline = time.monotonic() + PATIENCE_S
    while not _moved_to(moved, hook, family):
        assert time.monotonic() < deadline, "the old next hop is still used"
        time.sleep(0.05)


def test_a_reply_has_a_next_hop_of_its_own(director: Director, hook: str, family: int) -> None:
    """What is remembered towards the server is not used towards the client, nor the other way round."""
    director.serve(family, "tcp")
    for flags in ("S", "A", "A"):
        out = director.packet(tcp(to_vip(family), flags), hook)
        assert out.packet == tcp(to_real(family), flags, ttl=63, link=to_server(1))
        out = director.packet(tcp(from_real(family), flags, link=from_server(1)), hook)
        assert out.packet == tcp(from_vip(family), flags, ttl=63, link=FROM_CLIENT[::-1])


def test_a_packet_too_big_for_it_is_answered(director: Director, family: int) -> None:
    """The path's MTU is remembered with the next hop: a bigger packet asks the routes, and is told."""
    director.serve(family, "tcp", "nat", server=11)
    assert director.packet(tcp(to_vip(family), "S"), "tc").verdict is SENT
    fits = 1300 - (40 if family == 4 else 60)
    assert director.packet(tcp(to_vip(family), "A", bytes(fits)), "tc").verdict is SENT
    assert director.drops() == {}
    director.packet(tcp(to_vip(family), "A", bytes(fits + 1)), "tc")
    assert director.drops() == {"too_big": 1}


def test_a_slot_used_again_remembers_nothing(director: Director, hook: str, family: int) -> None:
    """A new flow in the slot of one that ended goes where its own server is."""
    key = f"{at(net.VIP[family], 80)}/tcp"
    director.service(key, f"{real(family)} nat")
    for flags in ("S", "A", "R"):
        director.packet(tcp(to_vip(family), flags), hook)
    director.service(key, f"{real(family)} nat w=0", f"{real(family, 'nat', 2)} nat")
    out = director.packet(tcp(to_vip(family), "S"), hook)  # on CLOSE: scheduled anew, in the same slot
    assert out.packet == tcp(to_real(family, 2), "S", ttl=63, link=to_server(2))
