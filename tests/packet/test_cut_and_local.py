"""What the host's stack does for us: cutting up a packet in a tunnel, and being the real server itself."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import PASS, SENT, Director, Out
from tests.packet.frames import Frame, at, packet_of, tcp, to_vip, udp
from xlvs.dataplane import _abi as abi

TUNNELS = ("ipip", "gue", "gre")
OWN = "10.1.0.254"
"""The director's address on the link of MTU 1300."""
ROOM = {"ipip": 20, "gue": 32, "gre": 24}


def tunnelled(director: Director, method: str, protocol: str = "udp", **config: str) -> None:
    """Serve the VIP by a tunnel to a server behind the link of MTU 1300."""
    director.configure(sysctls=config)
    director.service(f"{at(net.VIP[4], 80)}/{protocol}", f"{at(net.server(4, 11), 80)} {method}")


def check_wrapped(out: Out, sent: Frame, method: str) -> None:
    """Assert that the whole packet is on its way to the loopback, wrapped, for the stack to cut up."""
    assert out.verdict is SENT
    assert out.packet[:12] == bytes(12)
    outer, inner = out.packet.ip[:20], out.packet.ip[ROOM[method] :]
    assert len(out.packet) == len(sent) + ROOM[method]
    assert not outer[6] & 0x40
    assert outer[8] == 64
    assert outer[12:20] == b"".join(bytes(map(int, a.split("."))) for a in (OWN, net.server(4, 11)))
    assert inner[8] == 63
    assert inner[12:] == sent.ip[12:]


@pytest.mark.parametrize("method", TUNNELS)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_without_df_it_is_wrapped_whole(director: Director, method: str, protocol: str) -> None:
    """1300 bytes without DF do not fit: they are wrapped, without DF, and left to the stack; XDP passes them on."""
    tunnelled(director, method, protocol)
    sent = packet_of(protocol, to_vip(4), payload=bytes(1300 - (40 if protocol == "tcp" else 28)), df=False)
    early = director.packet(sent, "xdp")
    assert (early.verdict, early.packet) == (PASS, sent)
    check_wrapped(director.packet(sent), sent, method)
    assert director.drops() == {}


@pytest.mark.parametrize("method", TUNNELS)
def test_pmtu_disc_off_cuts_in_spite_of_df(director: Director, method: str) -> None:
    """With pmtu_disc=0 a packet with DF is cut, too; with 1 the client is told."""
    sent = udp(to_vip(4), bytes(1272))
    tunnelled(director, method, pmtu_disc="0")
    assert director.packet(sent, "xdp").verdict is PASS
    check_wrapped(director.packet(sent), sent, method)
    assert director.drops() == {}
    director.configure(sysctls={"pmtu_disc": "1"})
    out = director.packet(sent)
    assert out.packet.ip[20:22] == bytes([3, 4])
    assert int.from_bytes(out.packet.ip[26:28], "big") == 1300 - ROOM[method]
    assert director.drops() == {"too_big": 1}


@pytest.mark.parametrize("method", ["route", "ipip", "gue", "gre"])
def test_the_director_is_the_server(director: Director, family: int, protocol: str, method: str) -> None:
    """A real server that is the director itself: the packet is passed up as it came, and counted, also with TTL 1."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.DIRECTOR[family], 80)} {method}")
    for number, ttl in enumerate((64, 1), 1):
        sent = packet_of(protocol, to_vip(family, 4000 + ttl), ttl=ttl)
        for hook in ("xdp", "tc"):
            out = director.packet(sent, hook)
            assert (out.verdict, out.packet) == (PASS, sent)
        assert director.stats(at(net.DIRECTOR[family], 80))[:2] == (number, number)
    assert director.drops() == {}
    assert len(director.flows()) == 2


def test_nat_to_the_director_itself(director: Director, family: int) -> None:
    """Behind nat address and port are translated on the way up, and the TTL is as it came."""
    director.service(f"{at(net.VIP[family], 80)}/tcp", f"{at(net.DIRECTOR[family], 8080)} nat")
    sent = tcp(to_vip(family), "S")
    assert director.packet(sent, "xdp").packet == sent
    out = director.packet(sent)
    way = f"{at(net.CLIENT[family], 4000)} > {at(net.DIRECTOR[family], 8080)}"
    assert (out.verdict, out.packet) == (PASS, tcp(way, "S"))
    assert [flow.state for flow in director.flows()] == [abi.FlowState.SYN_RECV.name]
