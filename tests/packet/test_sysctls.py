"""What the switches of IPVS change for a packet (ip_vs_core.c, ip_vs_proto_tcp.c)."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at, real
from tests.packet.frames import from_real, from_server, packet_of, tcp, to_vip, udp
from tests.packet.tcp_table import ACTIVE


def chosen(director: Director, way: str, flags: str = "S", hook: str = "tc") -> str:
    """Return the MAC of the server that a segment of the client went to."""
    out = director.packet(tcp(way, flags), hook)
    assert out.verdict is SENT
    return out.packet[:6].hex(":")


def two_servers(director: Director, family: int, forward: str = "nat") -> None:
    """Put a service of two servers in force: the second comes first."""
    director.service(f"{at(net.VIP[family], 80)}/tcp", *(f"{real(family, forward, n)} {forward}" for n in (1, 2)))


def test_sloppy_tcp_opens_flows_amid_a_connection(director: Director, family: int, hook: str) -> None:
    """Any segment but a reset; the state follows from it."""
    two_servers(director, family)
    for flags in ("A", "FA", "R", "SR"):
        assert director.packet(tcp(to_vip(family), flags), hook).verdict is PASS
    director.configure(sysctls={"sloppy_tcp": "1"})
    for flags in ("R", "RA", "SR"):
        assert director.packet(tcp(to_vip(family), flags), hook).verdict is PASS
    opened = (
        (4001, "PA", "ESTABLISHED"), (4002, "FA", "CLOSE"), (4003, "S", "SYN_RECV"), (4004, "", "CLOSE"),
        (4005, "SA", "SYN_RECV"), (4006, "SF", "SYN_RECV"),
    )  # fmt: skip
    for port, flags, state in opened:
        assert director.packet(tcp(to_vip(family, port), flags), hook).verdict is SENT
        assert director.flows()[-1].state == state
        assert director.flows()[-1].inactive == (state not in ACTIVE)


@pytest.mark.parametrize(("mode", "again"), [("0", False), ("1", True), ("2", True), ("3", True)])
def test_a_port_that_is_used_again(director: Director, family: int, hook: str, mode: str, *, again: bool) -> None:
    """Without conn_reuse_mode a closed flow keeps its server, with it the SYN is scheduled at once."""
    director.configure(sysctls={"conn_reuse_mode": mode})
    two_servers(director, family)
    first = chosen(director, to_vip(family), "S", hook)
    for flags in ("A", "R"):
        assert chosen(director, to_vip(family), flags, hook) == first
    assert (chosen(director, to_vip(family), "S", hook) != first) == again
    assert len(director.flows()) == 1


@pytest.mark.parametrize(("mode", "again"), [("0", False), ("1", False), ("2", True)])
def test_a_port_used_again_after_fin(director: Director, family: int, mode: str, *, again: bool) -> None:
    """Where the director does not see replies, mode 2 takes a flow that the client has closed for over."""
    director.configure(sysctls={"conn_reuse_mode": mode})
    two_servers(director, family, "route")
    first = chosen(director, to_vip(family))
    chosen(director, to_vip(family), "A")
    chosen(director, to_vip(family), "FA")
    assert director.states() == ["FIN_WAIT"]
    assert (chosen(director, to_vip(family)) != first) == again


def test_flows_of_a_deleted_server(director: Director, family: int, hook: str) -> None:
    """Their packets are dropped; with expire_nodest_conn the flow ends, and a SYN or datagram is scheduled anew."""
    for protocol in ("tcp", "udp"):
        servers = [f"{real(family, 'nat', n)} nat" for n in (1, 2)]
        key = f"{at(net.VIP[family], 80)}/{protocol}"
        director.service(key, *servers)
        first = director.packet(packet_of(protocol, to_vip(family)), hook)
        director.service(key, servers[0])
        assert first.packet[:6].hex(":") == net.server_mac(2)
        assert director.packet(packet_of(protocol, to_vip(family), "A"), hook).verdict is DROP
    assert director.drops() == {"server_gone": 2}
    director.configure(sysctls={"expire_nodest_conn": "1"})
    assert director.packet(tcp(to_vip(family), "A"), hook).verdict is PASS
    out = director.packet(udp(to_vip(family)), hook)
    assert out.packet[:6].hex(":") == net.server_mac(1)
    assert director.states() == ["UDP"]
    assert director.load(real(family, "nat", 2)) == (0, 0)


def test_a_server_of_weight_0_and_a_new_connection(director: Director, family: int, hook: str) -> None:
    """With expire_nodest_conn a SYN of a known flow is scheduled anew if the server takes no new ones, in any state."""
    key, many = f"{at(net.VIP[family], 80)}/tcp", [f"{real(family, 'nat', n)} nat w=0" for n in range(3, 20)]
    one, two = (f"{real(family, 'nat', n)} nat" for n in (1, 2))
    director.service(key, two, *many)
    first = chosen(director, to_vip(family), "S", hook)
    assert first == net.server_mac(2) == chosen(director, to_vip(family), "A", hook)
    director.service(key, f"{two} w=0", *many, one)
    assert chosen(director, to_vip(family), "S", hook) == first
    director.configure(sysctls={"expire_nodest_conn": "1"})
    assert chosen(director, to_vip(family), "A", hook) == first
    assert chosen(director, to_vip(family), "S", hook) == net.server_mac(1)
    assert director.states() == ["SYN_RECV"]
    assert director.load(real(family, "nat", 2)) == (0, 0)


def test_a_stray_reply_is_told_by_icmp(director: Director, family: int, protocol: str) -> None:
    """With nat_icmp_send, but not if it is a reset, and not of hosts that are no servers."""
    director.serve(family, protocol)
    reply = packet_of(protocol, from_real(family), "A", link=from_server(1))
    assert director.packet(reply).verdict is PASS
    director.configure(sysctls={"nat_icmp_send": "1"})
    out = director.packet(reply)
    assert out.verdict is SENT
    told = out.packet.decoded()
    assert (told.payload.src, told.payload.dst) == (net.DIRECTOR[family], net.server(family, 1))
    counted_down = packet_of(protocol, from_real(family), "A", link=from_server(1), ttl=63)
    assert bytes(counted_down.ip[:28]) in bytes(out.packet)
    assert director.drops() == {"no_flow": 1}
    assert director.packet(reply, "xdp").verdict is PASS
    dying = packet_of(protocol, from_real(family), "A", link=from_server(1), ttl=1)
    assert director.packet(dying).verdict is PASS
    if protocol == "tcp":
        assert director.packet(tcp(from_real(family), "R", link=from_server(1))).verdict is PASS
    other = packet_of(protocol, from_real(family, 2), "A", link=from_server(2))
    assert director.packet(other).verdict is PASS
    known = packet_of(protocol, to_vip(family, 5000), "S")
    director.packet(known)
    back = f"{real(family)} > {at(net.CLIENT[family], 5000)}"
    assert director.packet(packet_of(protocol, back, "SA", link=from_server(1))).packet.ip
    assert director.drops() == {"no_flow": 1}


def test_secure_tcp_wants_an_answer_of_the_server(director: Director, hook: str) -> None:
    """The client's ACK alone makes no connection; the answer and the next segment do (tcp_states_dos)."""
    director.configure(sysctls={"secure_tcp": "3"})
    director.serve(4, "tcp")
    for who, flags, state in (
        (">", "S", "SYN_RECV"),
        (">", "A", "SYN_RECV"),
        ("<", "SA", "SYNACK"),
        (">", "A", "SYNACK"),
        ("<", "A", "ESTABLISHED"),
        (">", "FA", "CLOSE_WAIT"),
        ("<", "FA", "TIME_WAIT"),
    ):
        sent = tcp(to_vip(4), flags) if who == ">" else tcp(from_real(4), flags, link=from_server(1))
        assert director.packet(sent, hook).verdict is SENT
        assert director.states() == [state], (who, flags)


def test_secure_tcp_without_replies(director: Director) -> None:
    """A SYN is SYNACK at once, and the next segment a connection."""
    director.configure(sysctls={"secure_tcp": "3"})
    director.serve(4, "tcp", "route")
    for flags, state in (("S", "SYNACK"), ("A", "ESTABLISHED"), ("FA", "FIN_WAIT")):
        assert director.packet(tcp(to_vip(4), flags)).verdict is SENT
        assert director.states() == [state]
