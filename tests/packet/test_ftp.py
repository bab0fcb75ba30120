"""FTP behind nat: what a control connection says opens data connections, and the address in it is the virtual one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.packet import network as net
from tests.packet.director import PASS, SENT, Director, Out, at
from tests.packet.frames import TO_CLIENT, Frame, at_marker, from_server, tcp, to_server, udp
from xlvs.model import Address, Match, Server, Service, ServiceKey

PORT = 50004
NAMED = {
    n: f"227 Entering Passive Mode ({n},195,84).\r\n".encode() for n in ("10,0,0,1", "192,0,2,1", "10,100,200,100")
}
"""What a server says of port 50004, by the address that it names."""
VIRTUAL = NAMED["192,0,2,1"]
LONG = bytes(range(256)) * 4


@dataclass
class Session:
    """A control connection through the real programs."""

    director: Director
    family: int
    server: int = 0
    cport: int = 4000
    mark: int = 0

    def __post_init__(self) -> None:
        self.connect()

    def connect(self) -> None:
        """Shake hands, and note with which server."""
        out = self.say(b"", "S")
        self.server = next(n for n in (1, 2) if out.packet[:6].hex(":") == net.server_mac(n))
        self.answer(b"", "SA")
        self.say(b"", "A")

    def way(self, port: int = 21, cport: int = 0, *, real: bool = False) -> str:
        """From the client to the virtual address or the real server."""
        address = net.server(self.family, self.server) if real else net.VIP[self.family]
        return f"{at(net.CLIENT[self.family], cport or self.cport)} > {at(address, port)}"

    def back(self, port: int = 21, cport: int = 0, *, real: bool = False) -> str:
        """The other way."""
        return " > ".join(reversed(self.way(port, cport, real=real).split(" > ")))

    def say(self, payload: bytes, flags: str = "PA", **fields: Any) -> Out:
        """Send a client's segment."""
        return self.send(tcp(self.way(), flags, payload, **fields))

    def send(self, frame: Frame) -> Out:
        """Send from the client: through the marker, if Netfilter is to mark it."""
        if self.mark:
            return self.director.packet(at_marker(frame), "mark", mark=self.mark)
        return self.director.packet(frame)

    def answer(self, payload: bytes, flags: str = "PA", **fields: Any) -> Out:
        """Send a server's segment."""
        return self.director.packet(tcp(self.back(real=True), flags, payload, link=from_server(self.server), **fields))

    def heard(self, payload: bytes, flags: str = "PA", **fields: Any) -> Frame:
        """Return what the client gets of it."""
        return tcp(self.back(), flags, payload, ttl=63, link=TO_CLIENT, **fields)

    def got(self, payload: bytes, flags: str = "PA", **fields: Any) -> Frame:
        """Return what the server gets of what the client says."""
        return tcp(self.way(real=True), flags, payload, ttl=63, link=to_server(self.server), **fields)

    def expected(self) -> list[tuple[int, int]]:
        """Return the ports, of client and virtual address, of data connections to come."""
        flows = self.director.flows()
        return sorted((flow.client[1], flow.virtual[1]) for flow in flows if flow.state == "LISTEN")


@pytest.fixture
def session(director: Director, family: int) -> Session:
    """A connection to one of two servers, made by TC."""
    return opened(director, family)


def opened(director: Director, family: int, cport: int = 4000) -> Session:
    """Put the service in force and connect."""
    director.service(f"{at(net.VIP[family], 21)}/tcp", *(f"{at(net.server(family, n), 21)} nat" for n in (1, 2)))
    return Session(director, family, cport=cport)


@pytest.fixture
def session4(director: Director) -> Session:
    """The same, of IPv4."""
    return opened(director, 4)


@pytest.mark.parametrize("named", NAMED)
def test_a_passive_answer_names_the_virtual_address(session4: Session, named: str) -> None:
    """Longer, as long or shorter: with right lengths and checksums; and the data connection finds its server."""
    assert session4.answer(NAMED[named]).packet == session4.heard(VIRTUAL)
    assert session4.expected() == [(0, PORT)]
    passive(session4)


@pytest.mark.parametrize("kind", ["every port", "match", "netfilter"])
@pytest.mark.parametrize("persistent", [0, 300])
def test_a_service_of_many_ports(director: Director, family: int, kind: str, persistent: int) -> None:
    """By mark, or for every port: what is at port 21 is a control connection, too (ip_vs_ftp.c goes by the port)."""
    if kind == "every port" and not persistent:
        return  # there is no such service
    vip = Address.parse(net.VIP[family])
    key = ServiceKey("tcp", vip, 0) if kind == "every port" else ServiceKey.of_mark(7, family)
    servers = tuple(Server(Address.parse(net.server(family, n)), 0, "nat") for n in (1, 2))
    match = (Match.parse(net.VIP[family]),) if kind == "match" else ()
    director.put(Service(key, "rr", servers=servers, persistent=persistent, match=match))
    session = Session(director, family, mark=7 if kind == "netfilter" else 0)
    named = NAMED["10,0,0,1"] if family == 4 else b"229 Entering Extended Passive Mode (|||50004|)\r\n"
    assert session.answer(named).packet == session.heard(VIRTUAL if family == 4 else named)
    assert session.expected() == [(0, PORT)]
    for port in (4500, 4501) if persistent else (4500,):  # the second is a connection of its own
        out = session.send(tcp(session.way(PORT, port), "S"))
        assert out.packet == tcp(session.way(PORT, port, real=True), "S", ttl=63, link=to_server(session.server))
    said = f"EPRT |{1 if family == 4 else 2}|{net.CLIENT[family]}|48223|\r\n".encode()
    session.say(said, seq=100)
    assert session.expected() == [(48223, 20)]
    syn = tcp(session.back(20, 48223, real=True), "S", link=from_server(session.server))
    assert director.packet(syn).packet == tcp(session.back(20, 48223), "S", ttl=63, link=TO_CLIENT)


def test_a_datagram_at_its_port_is_none(director: Director, family: int) -> None:
    """A service by mark may get both."""
    server = Server(Address.parse(net.server(family, 1)), 0, "nat")
    director.put(Service(ServiceKey.of_mark(7, family), "rr", servers=(server,), match=(Match.parse(net.VIP[family]),)))
    director.packet(udp(f"{at(net.CLIENT[family], 4000)} > {at(net.VIP[family], 21)}"))
    back = f"{at(net.server(family, 1), 21)} > {at(net.CLIENT[family], 4000)}"
    out = director.packet(udp(back, payload=NAMED["10,0,0,1"], link=from_server(1)))
    want = f"{at(net.VIP[family], 21)} > {at(net.CLIENT[family], 4000)}"
    assert out.packet == udp(want, payload=NAMED["10,0,0,1"], ttl=63, link=TO_CLIENT)
    assert len(director.flows()) == 1


def test_an_extended_answer_stays(session: Session) -> None:
    """It has no address; both families have it."""
    said = b"229 Entering Extended Passive Mode (|||50004|)\r\n"
    assert session.answer(said).packet == session.heard(said)
    assert session.expected() == [(0, PORT)]
    passive(session)


def passive(session: Session) -> None:
    """Open the data connection by TC, go on by both hooks, and see that nobody else gets in."""
    director, cport = session.director, 4444
    assert director.packet(tcp(session.way(PORT, cport), "S")).packet == tcp(
        session.way(PORT, cport, real=True), "S", ttl=63, link=to_server(session.server)
    )
    assert session.expected() == []
    for hook in ("tc", "xdp"):
        out = director.packet(tcp(session.way(PORT, cport), "A", LONG), hook)
        assert out.packet == tcp(session.way(PORT, cport, real=True), "A", LONG, ttl=63, link=to_server(session.server))
        reply = tcp(session.back(PORT, cport, real=True), "A", LONG, link=from_server(session.server))
        out = director.packet(reply, hook)
        assert out.packet == tcp(session.back(PORT, cport), "A", LONG, ttl=63, link=TO_CLIENT)
    assert director.packet(tcp(session.way(PORT, cport + 1), "S")).verdict is PASS
    server = at(net.server(session.family, session.server), 21)
    assert director.load(server) == (2, 0)
    assert director.stats(server)[0] == 1


def test_xdp_opens_it_as_well(session: Session) -> None:
    """And leaves the control connection to TC, untouched."""
    said = tcp(session.way(), "PA", b"EPSV\r\n")
    out = session.director.packet(said, "xdp")
    assert (out.verdict, out.packet) == (PASS, said)
    answer = tcp(session.back(real=True), "PA", NAMED["10,0,0,1"], link=from_server(session.server))
    out = session.director.packet(answer, "xdp")
    assert (out.verdict, out.packet) == (PASS, answer)
    session.answer(b"229 Entering Extended Passive Mode (|||50004|)\r\n")
    out = session.director.packet(tcp(session.way(PORT, 4444), "S"), "xdp")
    assert out.packet == tcp(session.way(PORT, 4444, real=True), "S", ttl=63, link=to_server(session.server))


@pytest.mark.parametrize(
    "words", ["EPRT |{n}|{client}|48223|\r\n", "eprt |{n}|{client}|48223|\r\n", "PORT {list},188,95\r\n"]
)
def test_active(session: Session, words: str) -> None:
    """The server's SYN comes from the port below, and leaves from that of the virtual address."""
    client = net.CLIENT[session.family]
    if "PORT" in words and session.family == 6:
        return
    said = words.format(n={4: 1, 6: 2}[session.family], client=client, list=client.replace(".", ",")).encode()
    assert session.say(said).packet == session.got(said)
    assert session.expected() == [(48223, 20)]
    for hook in ("tc", "xdp"):
        syn = tcp(session.back(20, 48223, real=True), "S", link=from_server(session.server))
        out = session.director.packet(syn, hook)
        assert out.packet == tcp(session.back(20, 48223), "S", ttl=63, link=TO_CLIENT)
        out = session.director.packet(tcp(session.way(20, 48223), "SA"), hook)
        assert out.packet == tcp(session.way(20, 48223, real=True), "SA", ttl=63, link=to_server(session.server))
    ack = tcp(session.back(20, 48223, real=True), "A", link=from_server(session.server))
    assert session.director.packet(ack).verdict is SENT
    assert session.director.states().count("ESTABLISHED") == 2


def test_a_server_at_another_port(director: Director, family: int) -> None:
    """Control and active connections are translated, passive ones keep the server's port (ip_vs_ftp.c)."""
    director.service(f"{at(net.VIP[family], 21)}/tcp", f"{at(net.server(family, 1), 2121)} nat")
    client = at(net.CLIENT[family], 4000)
    out = director.packet(tcp(f"{client} > {at(net.VIP[family], 21)}", "S"))
    assert out.packet.decoded().dport == 2121
    said = f"EPRT |{1 if family == 4 else 2}|{net.CLIENT[family]}|48223|\r\n".encode()
    director.packet(tcp(f"{client} > {at(net.VIP[family], 21)}", "PA", said))
    syn = f"{at(net.server(family, 1), 2120)} > {at(net.CLIENT[family], 48223)}"
    out = director.packet(tcp(syn, "S", link=from_server(1)))
    assert out.packet == tcp(
        f"{at(net.VIP[family], 20)} > {at(net.CLIENT[family], 48223)}", "S", ttl=63, link=TO_CLIENT
    )


def test_numbers_are_shifted_from_then_on(session4: Session) -> None:
    """There and back, also for what is sent again, and more with each answer."""
    start, grown = 5000, len(VIRTUAL) - len(NAMED["10,0,0,1"])
    after = start + len(NAMED["10,0,0,1"])
    before = session4.answer(b"200 ok\r\n", seq=start - 8)
    assert before.packet == session4.heard(b"200 ok\r\n", seq=start - 8)
    for _ in range(3):
        assert session4.answer(NAMED["10,0,0,1"], seq=start).packet == session4.heard(VIRTUAL, seq=start)
    assert session4.answer(b"x", seq=after).packet == session4.heard(b"x", seq=after + grown)
    assert session4.answer(b"200 ok\r\n", seq=start - 8).packet == session4.heard(b"200 ok\r\n", seq=start - 8)
    assert session4.say(b"", "A", ack=start).packet == session4.got(b"", "A", ack=start)
    assert session4.say(b"", "A", ack=after + grown).packet == session4.got(b"", "A", ack=after)
    assert session4.answer(NAMED["10,0,0,1"], seq=after).packet == session4.heard(VIRTUAL, seq=after + grown)
    again = after + len(NAMED["10,0,0,1"])
    assert session4.answer(b"x", "FPA", seq=again).packet == session4.heard(b"x", "FPA", seq=again + 2 * grown)
    assert session4.say(b"", "A", ack=again + 2 * grown).packet == session4.got(b"", "A", ack=again)


def test_they_wrap_around(session4: Session) -> None:
    """2^32 is 0."""
    start = 2**32 - 10
    session4.answer(NAMED["10,100,200,100"], seq=start)
    fewer = len(NAMED["10,100,200,100"]) - len(VIRTUAL)
    after = (start + len(NAMED["10,100,200,100"])) % 2**32
    assert session4.answer(b"x", seq=after).packet == session4.heard(b"x", seq=after - fewer)
    assert session4.say(b"", "A", ack=after - fewer).packet == session4.got(b"", "A", ack=after)


@pytest.mark.parametrize(
    "before", [[("NOP", None)] * 2, [("NOP", None)], [], [("NOP", None)] * 2 + [("Timestamp", (1, 2))]]
)
def test_selective_acknowledgements_too(session4: Session, before: list[tuple[str, Any]]) -> None:
    """At whatever place in the header."""
    session4.answer(NAMED["10,0,0,1"], seq=5000)
    after = 5000 + len(NAMED["10,0,0,1"])
    edges = (after + 100, after + 200, after + 300, after + 400)
    seen = [*before, ("SAck", tuple(edge + 1 for edge in edges))]
    real = [*before, ("SAck", edges)]
    out = session4.say(b"", "A", ack=after + 1, tcp_options=seen)
    assert out.packet == session4.got(b"", "A", ack=after, tcp_options=real)


def test_a_new_connection_begins_anew(session4: Session) -> None:
    """The same client's port has no shift from before."""
    session4.answer(NAMED["10,0,0,1"], seq=5000)
    session4.say(b"", "R")
    session4.connect()
    assert session4.answer(b"220 hello\r\n", seq=9000).packet == session4.heard(b"220 hello\r\n", seq=9000)


NOTHING = [
    b"227 Entering Passive Mode (10,0,0,1,195).\r\n",
    b"227 Entering Passive Mode (10,0,0,1,256,84).\r\n",
    b"227 Entering Passive Mode (10,0,0,1,195,84",
    b"227 Entering Passive Mode\r\n(10,0,0,1,195,84)\r\n",
    b"227 " + b"1" * 200,
    b"227 " + b"," * 60,
    b"227",
    b"228 Entering Passive Mode (10,0,0,1,195,84).\r\n",
    b"229 (|||50004",
    b"229 (|||70000|)\r\n",
    b"229 (||50004|)\r\n",
    b"229 |||50004|\r\n",
    b"229 (1111500041)\r\n",
    b"PORT 198,51,100,7,188,95\r\n",
]


@pytest.mark.parametrize("said", NOTHING)
def test_what_a_server_says_that_means_nothing(session4: Session, said: bytes) -> None:
    """It reaches the client as it is, and opens nothing."""
    assert session4.answer(said).packet == session4.heard(said)
    assert session4.expected() == []


@pytest.mark.parametrize(
    "said",
    [
        b"PORT 198,51,100,7,188,95",
        b"PORT 198,51,100,7,188\r\n",
        b"PORT 198,51,100,7,188,256\r\n",
        b"PORT \r\n 198,51,100,7,188,95\r\n",
        b"XPORT 198,51,100,7,188,95\r\n",
        b"EPRT |1|198.51.100.7|48223",
        b"EPRT |1|198.51.100.7|482x3|\r\n",
        b"EPRT |1|198.51.100.7\r\n|48223|",
        b"227 Entering Passive Mode (10,0,0,1,195,84).\r\n",
        b"\0" * 40,
    ],
)
def test_what_a_client_says_that_means_nothing(session4: Session, said: bytes) -> None:
    """Likewise."""
    assert session4.say(said).packet == session4.got(said)
    assert session4.expected() == []


def test_other_services_say_what_they_like(director: Director) -> None:
    """Only port 21 is FTP."""
    director.serve(4, "tcp")
    way = f"{at(net.CLIENT[4], 4000)} > {at(net.VIP[4], 80)}"
    director.packet(tcp(way, "S"))
    back = f"{at(net.server(4, 1), 8080)} > {at(net.CLIENT[4], 4000)}"
    out = director.packet(tcp(back, "PA", NAMED["10,0,0,1"], link=from_server(1)))
    want = f"{at(net.VIP[4], 80)} > {at(net.CLIENT[4], 4000)}"
    assert out.packet == tcp(want, "PA", NAMED["10,0,0,1"], ttl=63, link=TO_CLIENT)
    assert director.live() == 1
