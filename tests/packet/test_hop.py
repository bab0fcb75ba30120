"""The next hop: what the kernel's routes and neighbours say, and what happens when they say no."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, at, real
from tests.packet.frames import TO_CLIENT, from_real, from_server, from_vip, tcp, to_real, to_server, to_vip
from xlvs.dataplane import _abi as abi

BEHIND = {4: "203.0.113.", 6: "2001:db8:b::"}
"""A network behind real server 2, which routes; 100 and up have no route."""


@pytest.fixture
def routes(director: Director, family: int) -> Iterator[Director]:
    """A director with a route to some servers through a gateway."""
    prefix = BEHIND[4] + "0/26" if family == 4 else BEHIND[6] + "/122"
    gateway, missing = net.server(family, 2), net.server(family, 9)
    option = f"-{family}"
    commands = [
        f"route add {prefix} via {gateway}",
        f"route add unreachable {BEHIND[family]}41",
        f"route add blackhole {BEHIND[family]}42",
        f"route add prohibit {BEHIND[family]}43",
        f"route add {BEHIND[family]}44 via {missing} dev inside",
    ]
    subprocess.run(["ip", option, "-batch", "-"], input="\n".join(commands), text=True, check=True)
    yield director
    undo = [command.replace("route add", "route del") for command in commands]
    subprocess.run(["ip", option, "-batch", "-"], input="\n".join(undo), text=True, check=True)


def behind(family: int, number: int) -> str:
    """Return the server *number* of the network behind, as it is reached by nat."""
    return at(f"{BEHIND[family]}{number}", 8080)


def serve(director: Director, family: int, number: int) -> None:
    """A service with one server in the network behind."""
    director.service(f"{at(net.VIP[family], 80)}/tcp", f"{behind(family, number)} nat")


def test_a_server_behind_a_gateway_is_sent_to_the_gateway(routes: Director, hook: str, family: int) -> None:
    """The frame goes to the gateway's MAC, the packet to the server."""
    serve(routes, family, 5)
    out = routes.packet(tcp(to_vip(family), "S"), hook)
    way = f"{at(net.CLIENT[family], 4000)} > {behind(family, 5)}"
    assert out.packet == tcp(way, "S", ttl=63, link=to_server(2))
    assert out.verdict is SENT


@pytest.mark.parametrize("number", [41, 42, 43, 100])
def test_a_route_that_leads_nowhere_drops(routes: Director, family: int, number: int) -> None:
    """Unreachable, blackhole, prohibited, or no route at all."""
    serve(routes, family, number)
    sent = tcp(to_vip(family), "S")
    assert routes.packet(sent, "xdp").packet == sent
    assert routes.packet(sent, "tc").verdict is DROP
    assert routes.drops() == {"no_route": 1}


def test_a_gateway_without_neighbour_entry_is_resolved_by_the_kernel(routes: Director, family: int) -> None:
    """TC redirects all the same, XDP leaves the packet to TC."""
    serve(routes, family, 44)
    sent = tcp(to_vip(family), "S")
    assert routes.packet(sent, "xdp").verdict is PASS
    out = routes.packet(sent, "tc")
    way = f"{at(net.CLIENT[family], 4000)} > {behind(family, 44)}"
    assert (out.verdict, out.packet.ip) == (SENT, tcp(way, "S", ttl=63).ip)


def test_xdp_sends_only_where_it_may(director: Director, family: int) -> None:
    """An interface that cannot take XDP's frames, or is unknown, is served by TC."""
    director.serve(family, "tcp")
    sent = tcp(to_vip(family), "S")
    director.interface("inside", 0)
    assert director.packet(sent, "xdp").packet == sent
    director.forget_interface("inside")
    assert director.packet(sent, "xdp").packet == sent
    assert director.counters() == {"flow_opened": 1, "xdp_punted": 2}
    director.interface("inside", abi.IF_XMIT)
    assert director.packet(sent, "xdp").packet == tcp(to_real(family), "S", ttl=63, link=to_server(1))


def test_a_reply_leaves_by_xdp_only_where_it_may(director: Director, family: int) -> None:
    """The same towards the client."""
    director.serve(family, "tcp")
    director.packet(tcp(to_vip(family), "S"), "xdp")
    director.interface("outside", 0)
    reply = tcp(from_real(family), "SA", link=from_server(1))
    assert director.packet(reply, "xdp").packet == reply
    assert director.packet(reply, "tc").packet == tcp(from_vip(family), "SA", ttl=63, link=TO_CLIENT)


@pytest.fixture
def no_forwarding(director: Director, family: int) -> Iterator[Director]:
    """A director whose host does not forward."""
    path = "ipv4/ip_forward" if family == 4 else "ipv6/conf/all/forwarding"
    net.set_sysctl(path, 0)
    yield director
    net.set_sysctl(path, 1)


def test_without_forwarding_packets_are_dropped_for_that_reason(no_forwarding: Director, family: int) -> None:
    """A host with IP forwarding off forwards nothing, and says what is missing."""
    no_forwarding.serve(family, "tcp")
    sent = tcp(to_vip(family), "S")
    assert no_forwarding.packet(sent, "xdp").packet == sent
    assert no_forwarding.packet(sent, "tc").verdict is DROP
    assert no_forwarding.drops() == {"no_forwarding": 1}


def test_a_tunnel_needs_an_address_of_the_director(director: Director, hook: str, family: int) -> None:
    """Without an outer source address there is no tunnel."""
    director.service(f"{at(net.VIP[family], 80)}/tcp", f"{at(net.server(family, 1), 80)} ipip", sources=False)
    assert director.packet(tcp(to_vip(family), "S"), hook).verdict is DROP
    assert director.drops() == {"no_source": 1}


@pytest.mark.parametrize("forward", ["route", "ipip"])
def test_a_local_client_needs_an_address_of_the_director(director: Director, family: int, forward: str) -> None:
    """A server that owns the virtual address cannot answer it."""
    director.service(f"{at(net.VIP[family], 80)}/tcp", f"{real(family, forward)} {forward}", sources=False)
    way = f"{at(net.VIP[family], 4000)} > {at(net.VIP[family], 80)}"
    assert director.packet(tcp(way, "S", link=(net.NO_MAC, net.NO_MAC)), "lo").verdict is DROP
    assert director.drops() == {"no_source": 1}
