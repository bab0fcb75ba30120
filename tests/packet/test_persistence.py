"""Persistent services (ip_vs_sched_persist), services of every port, one-packet scheduling."""

from __future__ import annotations

import time

import msgspec
import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at
from tests.packet.frames import Frame, from_server, packet_of, tcp, to_server, udp
from tests.packet.network import Network
from xlvs.model import Address, Server, Service, ServiceKey

CLIENTS = {4: ("198.51.100.{}", "198.51.99.{}"), 6: ("2001:db8:c::{}", "2001:db8:d::{}")}


def service(
    family: int,
    protocol: str = "tcp",
    port: int = 80,
    *,
    forward: str = "nat",
    servers: int = 3,
    seconds: int = 60,
    **more: object,
) -> Service:
    """Return a persistent rr service whose servers nat reaches at port 8080."""
    key = ServiceKey(protocol, Address.parse(net.VIP[family]), port)
    at_port = 8080 if forward == "nat" else port
    made = tuple(Server(Address.parse(net.server(family, n)), at_port, forward, 1) for n in range(1, servers + 1))
    return Service(key, "rr", servers=made, persistent=seconds, **more)  # type: ignore[arg-type]


def way(family: int, client: str, sport: int = 4000, port: int = 80) -> str:
    """Return from where to where the client's packet goes."""
    return f"{at(client, sport)} > {at(net.VIP[family], port)}"


def chosen(director: Director, sent: Frame, hook: str = "tc") -> int:
    """Return the number of the server that the packet went to."""
    out = director.packet(sent, hook)
    assert out.verdict is SENT
    return int(out.packet[:6].hex(":")[-2:])


def templates(director: Director) -> list[tuple[str, str, str]]:
    """Return client, virtual end and server's address of each template."""
    return [(f.client[0], at(*f.virtual), f.server) for f in director.flows() if f.state == "ASSURED"]


def persistent(director: Director, server: str) -> int:
    """Return how many templates a server counts."""
    return int(director._maps["loads"].get(director.number(server))["persistent"])


def test_a_client_keeps_its_server(director: Director, family: int, protocol: str, hook: str) -> None:
    """Its connections go where the first went, other clients to the next; templates are no connections."""
    director.put(service(family, protocol))
    one, two = CLIENTS[family][0].format(7), CLIENTS[family][0].format(8)
    for _ in range(2):
        for client, number in ((one, 3), (two, 2)):
            ports = range(4000, 4005)
            assert {chosen(director, packet_of(protocol, way(family, client, p)), hook) for p in ports} == {number}
    vip = at(net.VIP[family], 80)
    assert templates(director) == [
        (one, vip, net.server(family, 3)),
        (two, vip, net.server(family, 2)),
    ]
    assert sum(director.load(at(net.server(family, 3), 8080))) == 5
    assert [persistent(director, at(net.server(family, n), 8080)) for n in (1, 2, 3)] == [0, 1, 1]


def test_a_netmask_makes_clients_one(director: Director, family: int) -> None:
    """All of a network have one server: by an IPv4 mask, by the length of an IPv6 prefix."""
    director.put(service(family, netmask="255.255.255.0" if family == 4 else "64"))
    near, far = CLIENTS[family]
    assert {chosen(director, tcp(way(family, near.format(n)), "S")) for n in (1, 2, 99)} == {3}
    assert {chosen(director, tcp(way(family, far.format(n)), "S")) for n in (1, 2, 99)} == {2}
    assert [t[0] for t in templates(director)] == sorted(
        [
            near.format("0").removesuffix("0") + ("0" if family == 4 else ""),
            far.format("0").removesuffix("0") + ("0" if family == 4 else ""),
        ]
    )


def test_an_odd_prefix(director: Director) -> None:
    """A prefix that ends within a byte, and within a word."""
    director.put(service(6, netmask="45"))
    same = ["2001:db8:8::1", "2001:db8:f:ffff::9"]
    other = "2001:db8:10::1"
    assert {chosen(director, tcp(way(6, c), "S")) for c in same} == {3}
    assert chosen(director, tcp(way(6, other), "S")) == 2


def test_weight_0_keeps_its_clients_unless_told_otherwise(director: Director, family: int) -> None:
    """A quiescent server keeps who has a template, until expire_quiescent_template says no."""
    wanted = service(family)
    director.put(wanted)
    client = CLIENTS[family][0].format(7)
    assert chosen(director, tcp(way(family, client), "S")) == 3
    quiet = tuple(msgspec.structs.replace(s, weight=0 if str(s.address).endswith("3") else 1) for s in wanted.servers)
    director.put(wanted.with_servers(quiet))
    assert chosen(director, tcp(way(family, client, 4001), "S")) == 3
    director.configure(sysctls={"expire_quiescent_template": "1"})
    assert chosen(director, tcp(way(family, client, 4002), "S")) == 2
    assert chosen(director, tcp(way(family, client, 4003), "S")) == 2
    assert persistent(director, at(net.server(family, 3), 8080)) == 0


def test_a_server_that_is_deleted_loses_its_clients(director: Director, family: int) -> None:
    """The template is of no use any more, and the next server gets one."""
    wanted = service(family)
    director.put(wanted)
    client = CLIENTS[family][0].format(7)
    assert chosen(director, tcp(way(family, client), "S")) == 3
    director.put(wanted.with_servers(wanted.servers[:2]))
    number = chosen(director, tcp(way(family, client, 4001), "S"))
    assert number in (1, 2)
    assert {chosen(director, tcp(way(family, client, port), "S")) for port in range(4002, 4006)} == {number}


def test_a_template_ends_after_its_time(director: Director, family: int) -> None:
    """Its own, not that of any state; a new one begins."""
    director.put(service(family, seconds=1))
    client = CLIENTS[family][0].format(7)
    assert chosen(director, tcp(way(family, client), "S")) == 3
    time.sleep(1.3)
    assert templates(director) == []
    assert chosen(director, tcp(way(family, client, 4001), "S")) == 2
    assert persistent(director, at(net.server(family, 3), 8080)) == 0


def test_a_connection_keeps_its_template(network: Network, family: int) -> None:
    """While there is one, the template is put off by a minute again and again (ip_vs_conn_expire)."""
    with network.inside():
        director, loaded = Director.loaded()
        director.put(service(family, seconds=3))
        client = CLIENTS[family][0].format(7)
        assert chosen(director, tcp(way(family, client), "S")) == 3
        director.sweep()
        time.sleep(4.5)
        assert len(templates(director)) == 1
        assert chosen(director, tcp(way(family, client, 4001), "S")) == 3
        loaded.close()


def test_a_service_of_every_port(director: Director, family: int, protocol: str, hook: str) -> None:
    """Ports that no other service has; one server for all of a client's; nat leaves the port as it is."""
    director.put(service(family, protocol, 0))
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.server(family, 5), 8080)} nat")
    client = CLIENTS[family][0].format(7)
    for port in (22, 443, 65535):
        out = director.packet(packet_of(protocol, way(family, client, port=port)), hook)
        to = f"{at(client, 4000)} > {at(net.server(family, 3), port)}"
        assert out.packet == packet_of(protocol, to, ttl=63, link=to_server(3))
        back = f"{at(net.server(family, 3), port)} > {at(client, 4000)}"
        reply = director.packet(packet_of(protocol, back, "SA", link=from_server(3)), hook)
        want = f"{at(net.VIP[family], port)} > {at(client, 4000)}"
        assert reply.packet == packet_of(protocol, want, "SA", ttl=63, link=(net.OUTSIDE_MAC, net.CLIENT_MAC))
    assert chosen(director, packet_of(protocol, way(family, client)), hook) == 5
    assert [t[1:] for t in templates(director)] == [(at(net.VIP[family], 0), net.server(family, 3))]


def test_other_protocols_have_templates_of_their_own(director: Director, family: int) -> None:
    """A client's server for TCP is not that for UDP."""
    director.put(service(family, "tcp"))
    director.put(service(family, "udp", servers=2))
    client = CLIENTS[family][0].format(7)
    assert chosen(director, tcp(way(family, client), "S")) == 3
    assert chosen(director, udp(way(family, client))) == 2
    assert len(templates(director)) == 2


@pytest.mark.parametrize("forward", ["nat", "route"])
def test_one_packet_scheduling(director: Director, family: int, forward: str, hook: str) -> None:
    """Every datagram is scheduled and counted by itself, and none leaves a flow; a reply is nobody's."""
    once = service(family, "udp", forward=forward, seconds=0, ops=True)
    director.put(once)
    client = CLIENTS[family][0].format(7)
    assert [chosen(director, udp(way(family, client)), hook) for _ in range(6)] == [3, 2, 1, 3, 2, 1]
    assert director.flows() == []
    port = 8080 if forward == "nat" else 80
    assert director.stats(at(net.server(family, 3), port))[:2] == (2, 2)
    reply = udp(f"{at(net.server(family, 3), port)} > {at(client, 4000)}", link=from_server(3))
    out = director.packet(reply, hook)
    assert (out.verdict, out.packet) == (PASS, reply)


def test_fragments_of_one_packet_go_to_one_server(director: Director) -> None:
    """Without a flow, where the datagram goes must follow from its ends."""
    director.put(service(4, "udp", seconds=0, ops=True))
    for port in range(4000, 4020):
        first = udp(way(4, CLIENTS[4][0].format(7), port), bytes(1000), df=False, flags="MF", id=port)
        found = {chosen(director, first)}
        later = Frame(first[:20] + (0x7E).to_bytes(2) + first[22:24] + bytes(2) + first[26:])
        out = director.packet(_summed(later))
        assert out.verdict is SENT
        assert found == {int(out.packet[:6].hex(":")[-2:])}


def _summed(sent: Frame) -> Frame:
    """Return the frame with a right IPv4 header checksum."""
    packet = sent.decoded()
    del packet["IP"].chksum
    return Frame(bytes(packet))


def test_one_packet_scheduling_with_persistence(director: Director, family: int) -> None:
    """The template says where each packet goes."""
    director.put(service(family, "udp", ops=True))
    client = CLIENTS[family][0].format(7)
    assert {chosen(director, udp(way(family, client, port))) for port in range(4000, 4005)} == {3}
    assert [f.state for f in director.flows()] == ["ASSURED"]


def test_no_server_opens_no_template(director: Director, family: int) -> None:
    """Whoever is refused is not remembered."""
    director.put(service(family, servers=0))
    out = director.packet(tcp(way(family, CLIENTS[family][0].format(7)), "S"))
    assert out.verdict in (SENT, DROP)
    assert director.flows() == []


CAPTURED = "3 2 1 3 3 2 " * 10
"""Servers that Linux 6.1 gave to 60 connections of 30 clients in turn: wrr of weights 1, 2, 3, persistent for 360 s."""


def test_the_captured_choices(director: Director, hook: str) -> None:
    """A client's second connection goes where its first did; thirty are five whole rounds, so wrr alone agrees."""
    servers = tuple(Server(Address.parse(net.server(4, n)), 8000, "nat", n) for n in (1, 2, 3))
    key = ServiceKey("tcp", Address.parse(net.VIP[4]), 80)
    for n in (1, 2, 3):  # wrr goes on where it is when a server is added
        director.put(Service(key, "wrr", servers=servers[:n], persistent=360))
    found = [chosen(director, tcp(way(4, f"198.51.100.{1 + n % 30}", 39840 + n), "S"), hook) for n in range(60)]
    assert found == [int(word) for word in CAPTURED.split()]
    for n in (7, 3, 3, 29):  # out of turn, where wrr alone would not
        again = chosen(director, tcp(way(4, f"198.51.100.{1 + n}", 50000 + n), "S"), hook)
        assert again == found[n]
