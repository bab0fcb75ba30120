"""Partial checksums, which drivers such as veth and virtio hand to XDP: the field holds the pseudo-header's sum alone.

TC has helpers that know what the field means; a test run cannot hand them a
partial one, so what is here is XDP's.  Every checksum is worked out anew by
`tests.packet.sums`, in arithmetic of its own.
"""

from __future__ import annotations

import pytest

from tests.packet import sums
from tests.packet.director import SENT, Director
from tests.packet.frames import (
    TO_CLIENT,
    Frame,
    from_real,
    from_server,
    from_vip,
    packet_of,
    to_real,
    to_server,
    to_vip,
    udp,
)
from xlvs.dataplane import _abi as abi

LENGTHS = range(1401)
PAYLOAD = bytes((7 * i + i // 251) % 256 for i in range(max(LENGTHS)))


def test_a_partial_checksum_is_completed_at_every_length(director: Director, family: int, protocol: str) -> None:
    """nat, payloads of 0 to 1400 bytes, odd and even: the packet leaves with the right checksum."""
    director.serve(family, protocol)
    sent = packet_of(protocol, to_vip(family), payload=PAYLOAD)
    want = packet_of(protocol, to_real(family), payload=PAYLOAD, ttl=63, link=to_server(1))
    for length in LENGTHS:
        out = director.packet(sums.partial(sums.cut(sent, length)), "xdp")
        assert out.packet == sums.cut(want, length), f"{length} bytes of payload"
    assert director.counters()["healed"] == len(LENGTHS)


@pytest.mark.parametrize("length", [0, 1, 2, 61, 62, 63, 64, 65, 1399, 1400])
def test_a_reply_is_completed_too(director: Director, family: int, protocol: str, length: int) -> None:
    """A partial reply leaves towards the client with the right checksum."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, to_vip(family)), "xdp")
    reply = packet_of(protocol, from_real(family), "A", payload=PAYLOAD[:length], link=from_server(1))
    want = packet_of(protocol, from_vip(family), "A", payload=PAYLOAD[:length], ttl=63, link=TO_CLIENT)
    assert director.packet(sums.partial(reply), "xdp").packet == want


@pytest.mark.parametrize("length", [0, 1, 100, 1301])
def test_route_completes_it(director: Director, family: int, protocol: str, length: int) -> None:
    """A packet that keeps its addresses must not leave the machine with half a checksum either."""
    director.serve(family, protocol, "route")
    sent = packet_of(protocol, to_vip(family), payload=b"\xa5" * length)
    out = director.packet(sums.partial(sent), "xdp")
    assert out.packet == packet_of(protocol, to_vip(family), payload=b"\xa5" * length, ttl=63, link=to_server(1))


@pytest.mark.parametrize("length", [0, 1, 100, 1301])
def test_ipip_completes_the_inner_one(director: Director, family: int, protocol: str, length: int) -> None:
    """Nobody behind the tunnel could complete it: the inner packet leaves whole."""
    director.serve(family, protocol, "ipip")
    sent = packet_of(protocol, to_vip(family), payload=b"\xa5" * length)
    out = director.packet(sums.partial(sent), "xdp")
    inner = packet_of(protocol, to_vip(family), payload=b"\xa5" * length, ttl=63)
    assert out.verdict is SENT
    assert out.packet[14 + (20 if family == 4 else 40) :] == inner.ip


def test_padding_is_not_summed(director: Director, family: int, protocol: str) -> None:
    """What Ethernet put behind the packet has no part in its checksum."""
    director.serve(family, protocol)
    out = director.packet(Frame(sums.partial(packet_of(protocol, to_vip(family))) + b"\x77" * 13), "xdp")
    want = packet_of(protocol, to_real(family), ttl=63, link=to_server(1))
    assert out.packet == Frame(want + b"\x77" * 13)


def test_only_interfaces_that_hand_out_partial_checksums_are_healed(director: Director, family: int) -> None:
    """From a real NIC the same field is a checksum that happens to look so: it is updated, not replaced."""
    director.serve(family, "udp")
    director.interface("outside", abi.IF_XMIT)
    sent = udp(to_vip(family), bytes(2))
    # Choose the payload such that the complete checksum equals the pseudo-header's sum.
    start, _, pseudo = sums.transport(sent)
    rest = sums.ones_sum(sums.set_check(sent, 0)[start:])
    payload = ((-2 * sums.ones_sum(pseudo) - rest) % 65535).to_bytes(2, "big")
    sent = udp(to_vip(family), payload)
    assert sent == sums.partial(sent)
    out = director.packet(sent, "xdp")
    assert out.packet == udp(to_real(family), payload, ttl=63, link=to_server(1))
    assert "healed" not in director.counters()


def test_a_completed_sum_of_zero_is_sent_as_all_ones(director: Director, family: int) -> None:
    """UDP's 0 means that there is no checksum, so completing never writes it."""
    director.serve(family, "udp")
    want = udp(to_real(family), bytes(2), ttl=63, link=to_server(1))
    start = sums.transport(want)[0]
    payload = want[start + 6 : start + 8]
    out = director.packet(sums.partial(udp(to_vip(family), payload)), "xdp")
    assert out.packet == udp(to_real(family), payload, ttl=63, link=to_server(1))
    assert out.packet[start + 6 : start + 8] == b"\xff\xff"
