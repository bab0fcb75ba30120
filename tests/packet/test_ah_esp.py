"""ESP and AH follow the key exchange: the flow of UDP from port 500 to port 500 of the same addresses, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from tests.packet import network as net
from tests.packet.director import PASS, SENT, Director
from tests.packet.errors import error
from tests.packet.frames import (
    FROM_CLIENT,
    TO_CLIENT,
    Frame,
    Link,
    at,
    ends,
    frame,
    from_server,
    ip_header,
    to_server,
    udp,
)

HEADER = bytes.fromhex("12345678000000011122334455667788")
SERVER = {family: net.server(family, 1) for family in (4, 6)}


@pytest.fixture(params=[50, 51], ids=["esp", "ah"])
def number(request: pytest.FixtureRequest) -> int:
    """Both protocols."""
    return int(request.param)


def packet(number: int, way: str, link: Link = FROM_CLIENT, **fields: Any) -> Frame:
    """Return a packet of the protocol with this number."""
    e = ends(way)
    return frame(ip_header(e, **{"nh" if e.version == 6 else "proto": number}, **fields) / HEADER, link)


def way(family: int, src: str, dst: str, port: int = 0) -> str:
    """From one address to another."""
    return f"{at(src, port)} > {at(dst, port)}"


def serve(director: Director, family: int, forward: str) -> None:
    """Put the service of the key exchange in force."""
    director.service(f"{at(net.VIP[family], 500)}/udp", f"{at(SERVER[family], 500)} {forward}")


def exchange(director: Director, family: int) -> None:
    """Open the flow that the rest follows."""
    assert director.packet(udp(way(family, net.CLIENT[family], net.VIP[family], 500))).verdict is SENT


def test_nat_there_and_back(director: Director, family: int, number: int) -> None:
    """Addresses change, and nothing behind the IP header."""
    serve(director, family, "nat")
    exchange(director, family)
    out = director.packet(packet(number, way(family, net.CLIENT[family], net.VIP[family])))
    assert out.packet == packet(number, way(family, net.CLIENT[family], SERVER[family]), to_server(1), ttl=63)
    out = director.packet(packet(number, way(family, SERVER[family], net.CLIENT[family]), from_server(1)))
    assert out.packet == packet(number, way(family, net.VIP[family], net.CLIENT[family]), TO_CLIENT, ttl=63)
    assert director.states() == ["UDP"]
    assert director.service_stats(f"{at(net.VIP[family], 500)}/udp")[:3] == (1, 2, 1)


@pytest.mark.parametrize("forward", ["route", "ipip", "gue", "gre"])
def test_other_methods(director: Director, family: int, number: int, forward: str) -> None:
    """The packet goes as the key exchange does."""
    serve(director, family, forward)
    exchange(director, family)
    given = packet(number, way(family, net.CLIENT[family], net.VIP[family]))
    out = director.packet(given)
    assert out.verdict is SENT
    assert out.packet.endswith(HEADER)
    assert len(out.packet) > len(given) or forward == "route"


def test_alone_it_opens_nothing(director: Director, family: int, number: int) -> None:
    """Without a key exchange the host's stack has it, at both hooks; XDP leaves all of it to TC."""
    serve(director, family, "nat")
    given = packet(number, way(family, net.CLIENT[family], net.VIP[family]))
    assert director.packet(given).verdict is PASS
    assert director.states() == []
    exchange(director, family)
    assert director.packet(given, "xdp").verdict is PASS


@pytest.mark.parametrize("fields", [{"flags": "MF"}, {"frag": 100}])
def test_fragments_go_by_their_addresses(director: Director, number: int, fields: dict[str, Any]) -> None:
    """There are no ports to wait for."""
    serve(director, 4, "nat")
    exchange(director, 4)
    given = packet(number, way(4, net.CLIENT[4], net.VIP[4]), df=False, **fields)
    assert director.packet(given).packet == packet(
        number, way(4, net.CLIENT[4], SERVER[4]), to_server(1), ttl=63, df=False, **fields
    )


def test_an_error_about_it_reaches_the_server(director: Director, family: int, number: int) -> None:
    """In the quote, too, only the address changes."""
    serve(director, family, "nat")
    exchange(director, family)
    client, virtual = net.CLIENT[family], net.VIP[family]
    quote = packet(number, way(family, virtual, client)).ip
    out = director.packet(error("unreachable", client, virtual, quote))
    inside = packet(number, way(family, SERVER[family], client)).ip
    assert out.packet == error("unreachable", client, SERVER[family], inside, ttl=63, link=to_server(1))
