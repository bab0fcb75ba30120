"""nat: the client's packet gets the real server's address and port, the reply the virtual ones."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import SENT, Director
from tests.packet.frames import TO_CLIENT, at, from_server, packet_of, to_server


def service(director: Director, family: int, protocol: str) -> None:
    """One service on port 80, one nat server on port 8080."""
    director.service(f"{at(net.VIP[family], 80)}/{protocol}", f"{at(net.server(family, 1), 8080)} nat")


def way(family: int) -> str:
    """From the client to the service."""
    return f"{at(net.CLIENT[family], 4000)} > {at(net.VIP[family], 80)}"


def way_on(family: int) -> str:
    """From the client to the server."""
    return f"{at(net.CLIENT[family], 4000)} > {at(net.server(family, 1), 8080)}"


def way_back(family: int) -> str:
    """From the server to the client."""
    return f"{at(net.server(family, 1), 8080)} > {at(net.CLIENT[family], 4000)}"


def way_home(family: int) -> str:
    """From the service to the client."""
    return f"{at(net.VIP[family], 80)} > {at(net.CLIENT[family], 4000)}"


def test_the_first_packet_opens_a_flow_and_is_translated(
    director: Director, hook: str, family: int, protocol: str
) -> None:
    """Destination address, port and MACs change, the TTL counts down, nothing else."""
    service(director, family, protocol)
    out = director.packet(packet_of(protocol, way(family), tos=0x48), hook)
    assert out.packet == packet_of(protocol, way_on(family), tos=0x48, ttl=63, link=to_server(1))
    assert out.verdict is SENT
    assert director.drops() == {}
    assert director.states() == ["SYN_RECV" if protocol == "tcp" else "UDP"]
