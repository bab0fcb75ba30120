"""A client on the director itself: its packets leave through the loopback, where another program waits.

The kernel gives such a client the virtual address itself as its source, unless
it is bound to another of the director's.
"""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at, real
from tests.packet.errors import QUOTE, error, translated
from tests.packet.frames import (
    LOCAL,
    Ends,
    Frame,
    frame,
    from_server,
    ip_header,
    packet_of,
    tcp,
    to_server,
    to_vip,
    udp,
)

OWN = {4: "198.51.100.1", 6: "2001:db8:c::1"}
"""An address of the director that is not virtual."""


@pytest.fixture(params=["vip", "own"])
def client(request: pytest.FixtureRequest, family: int) -> str:
    """The address the local client has."""
    return net.VIP[family] if request.param == "vip" else OWN[family]


def way(client: str, family: int, address: str = "", port: int = 80) -> str:
    """From the local client to the service, or to another address and port."""
    return f"{at(client, 4000)} > {at(address or net.VIP[family], port)}"


def back(client: str, family: int, address: str = "", port: int = 80) -> str:
    """The way back."""
    return f"{at(address or net.VIP[family], port)} > {at(client, 4000)}"


def test_nat_translates_a_local_client(director: Director, family: int, protocol: str, client: str) -> None:
    """To the server and back: the client sees the virtual address answer, on the loopback, at its full TTL."""
    director.serve(family, protocol)
    out = director.packet(packet_of(protocol, way(client, family), link=LOCAL), "lo")
    to = way(client, family, net.server(family, 1), 8080)
    assert out.packet == packet_of(protocol, to, ttl=63, link=to_server(1))
    assert out.verdict is SENT
    assert [flow.local for flow in director.flows()] == [True]
    reply = packet_of(protocol, back(client, family, net.server(family, 1), 8080), "SA", ttl=64, link=from_server(1))
    assert director.packet(reply, "xdp").packet == reply
    out = director.packet(reply, "tc")
    assert out.packet == packet_of(protocol, back(client, family), "SA", ttl=64, link=LOCAL)
    assert out.verdict is SENT
    assert director.drops() == {}
    assert director.counters() == {"flow_opened": 1, "local_forwarded": 1, "xdp_punted": 1}
    assert director.stats(real(family))[:3] == (1, 1, 1)


def test_route_changes_a_local_clients_source(director: Director, family: int, protocol: str, client: str) -> None:
    """The server owns the virtual address and must answer the director's own: it is put in, and taken out again."""
    director.serve(family, protocol, "route")
    out = director.packet(packet_of(protocol, way(client, family), link=LOCAL), "lo")
    assert out.packet == packet_of(protocol, way(net.DIRECTOR[family], family), ttl=63, link=to_server(1))
    assert out.verdict is SENT
    reply = packet_of(protocol, back(net.DIRECTOR[family], family), "SA", link=from_server(1))
    assert director.packet(reply, "xdp").packet == reply
    out = director.packet(reply, "tc")
    assert out.packet == packet_of(protocol, back(client, family), "SA", link=LOCAL)
    assert out.verdict is SENT
    assert director.drops() == {}


@pytest.mark.parametrize("outer", [4, 6], ids=["in4", "in6"])
def test_ipip_changes_a_local_clients_source_and_wraps(
    director: Director, family: int, protocol: str, client: str, outer: int
) -> None:
    """The inner source becomes the director's address towards the server, if it is of the same family."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.server(outer, 1), 80)} ipip")
    sent = packet_of(protocol, way(client, family), link=LOCAL, df=False)
    out = director.packet(sent, "lo")
    if outer != family:
        # An address of the other family cannot be the inner source, and the virtual one is the server's own.
        assert out.verdict is DROP
        assert director.drops() == {"no_source": 1}
        return
    inner = packet_of(protocol, way(net.DIRECTOR[family], family), ttl=63, df=False)
    tunnel = Ends(net.DIRECTOR[outer], 0, net.server(outer, 1), 0)
    if outer == 4:
        header = ip_header(tunnel, ttl=63, df=False, id=out.packet.ip_id, proto=4)
    else:
        header = ip_header(tunnel, ttl=63, nh=41)
    assert out.packet == frame(header / inner.ip, to_server(1))
    reply = packet_of(protocol, back(net.DIRECTOR[family], family), "SA", link=from_server(1))
    out = director.packet(reply)
    assert out.packet == packet_of(protocol, back(client, family), "SA", link=LOCAL)


def test_other_local_traffic_passes(director: Director, family: int, protocol: str) -> None:
    """What is not for a service stays on the loopback."""
    director.serve(family, protocol)
    for sent in (
        packet_of(protocol, way(net.VIP[family], family, port=81), link=LOCAL),
        packet_of(protocol, way(OWN[family], family, OWN[family]), link=LOCAL),
        packet_of(protocol, way(net.VIP[family], family, net.server(family, 1), 8080), link=LOCAL),
        tcp(way(net.VIP[family], family), "A", link=LOCAL),
    ):
        out = director.packet(sent, "lo")
        assert (out.verdict, out.packet) == (PASS, sent)
    assert director.flows() == []


def test_a_reply_that_comes_up_the_loopback_passes(director: Director, family: int, protocol: str, client: str) -> None:
    """Nothing that was redirected up the loopback is taken for a new packet."""
    director.serve(family, protocol)
    director.packet(packet_of(protocol, way(client, family), link=LOCAL), "lo")
    reply = packet_of(protocol, back(client, family), "SA", link=LOCAL)
    out = director.packet(reply, "lo")
    assert (out.verdict, out.packet) == (PASS, reply)


def test_without_a_server_a_local_client_is_told(director: Director, family: int, client: str) -> None:
    """Port unreachable, up the loopback."""
    director.service(f"{at(net.VIP[family], 80)}/udp")
    sent = udp(way(client, family), link=LOCAL)
    out = director.packet(sent, "lo")
    tos = 0xC0 if family == 4 else 0
    assert out.packet == error(
        "unreachable", net.VIP[family], client, sent.ip, tos=tos, ip_id=out.packet.ip_id, link=LOCAL
    )
    assert out.verdict is SENT


@pytest.mark.parametrize("forward", ["nat", "route"])
def test_a_local_packet_too_big_is_answered(director: Director, family: int, client: str, forward: str) -> None:
    """The client on the director learns the MTU of the link to its server, from an error that quotes its own packet."""
    director.serve(family, "udp", forward, server=11)
    fields = {"payload": bytes(1400), "link": LOCAL}
    out = director.packet(udp(way(client, family), **fields), "lo")
    quote = udp(way(client, family), ttl=63, **fields).ip[: QUOTE[family]]
    assert out.packet == error(
        "too-big",
        net.VIP[family],
        client,
        quote,
        mtu=1300,
        tos=0xC0 if family == 4 else 0,
        ip_id=out.packet.ip_id,
        link=LOCAL,
    )
    assert out.verdict is SENT
    assert director.drops() == {"too_big": 1}


def test_an_error_about_a_local_clients_packet_reaches_it(director: Director, family: int, client: str) -> None:
    """An error of a server behind nat is translated and goes up the loopback."""
    director.serve(family, "udp")
    director.packet(udp(way(client, family), link=LOCAL), "lo")
    quote = udp(way(client, family, net.server(family, 1), 8080), ttl=63)
    out = director.packet(error("unreachable", net.server(family, 1), client, quote.ip, link=from_server(1)))
    assert out.verdict is SENT
    assert out.packet == error(
        "unreachable",
        net.VIP[family],
        client,
        translated(quote, way(client, family), "udp", ttl=63),
        ttl=63,
        link=LOCAL,
    )


def test_local_and_remote_clients_do_not_meet(director: Director, family: int, protocol: str) -> None:
    """A remote client with the same port has a flow of its own."""
    director.serve(family, protocol, "route")
    director.packet(packet_of(protocol, way(net.VIP[family], family), link=LOCAL), "lo")
    out = director.packet(packet_of(protocol, to_vip(family)))
    assert out.packet == packet_of(protocol, to_vip(family), ttl=63, link=to_server(1))
    assert sorted(flow.local for flow in director.flows()) == [False, True]


@pytest.mark.parametrize("forward", ["nat", "route", "ipip"])
def test_the_state_of_a_local_flow_follows_both_sides(director: Director, family: int, forward: str) -> None:
    """Handshake and close of a local client lead through IPVS's states."""
    director.serve(family, "tcp", forward)
    server = net.server(family, 1) if forward == "nat" else net.VIP[family]
    port = 8080 if forward == "nat" else 80
    seen_as = net.VIP[family] if forward == "nat" else net.DIRECTOR[family]

    def reply(flags: str) -> Frame:
        return tcp(back(seen_as, family, server, port), flags, link=from_server(1))

    states = []
    for who, flags in ((">", "S"), ("<", "SA"), (">", "A"), ("<", "A"), (">", "FA"), ("<", "FA"), (">", "A")):
        if who == ">":
            out = director.packet(tcp(way(net.VIP[family], family), flags, link=LOCAL), "lo")
        else:
            out = director.packet(reply(flags))
        assert out.verdict is SENT, f"{flags} from {who}"
        states += director.states()
    # Of route and ipip IPVS has a table that does not expect to see replies.
    close = ["CLOSE_WAIT", "TIME_WAIT", "TIME_WAIT"] if forward == "nat" else ["FIN_WAIT"] * 3
    assert states == ["SYN_RECV", "SYN_RECV", "ESTABLISHED", "ESTABLISHED", *close]
