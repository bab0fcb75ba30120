"""The captures of `test_captured` in which the director itself is the real server, or the client."""

from __future__ import annotations

import pytest
from scapy.layers.l2 import Ether

from tests.packet.director import PASS, SENT, Director
from tests.packet.frames import LOCAL, Frame, Link
from tests.packet.test_captured import CASES, LOCAL_CLIENT, capture, captured_director, serve

__all__ = ["captured_director"]

End = tuple[str, int]


def readdressed(one: Frame, link: Link, *, src: End | None = None, dst: End | None = None, ttl: int = 0) -> Frame:
    """Return the packet on this link, with another source, destination or TTL, its checksums made anew."""
    header = one.decoded().payload
    transport = header.payload
    for end, address, port in ((src, "src", "sport"), (dst, "dst", "dport")):
        if end:
            header.setfieldval(address, end[0])
            transport.setfieldval(port, end[1])
    if ttl:
        header.setfieldval("ttl" if header.version == 4 else "hlim", ttl)
    for layer in (header, transport):
        layer.fields.pop("chksum", None)
    return Frame(bytes(Ether(src=link[0], dst=link[1]) / header))


def servers(director: Director, case: str) -> dict[End, End]:
    """Put the services of the capture in force; return where each is reached behind nat, else where it is itself."""
    found = {}
    for service in serve(director, case):
        virtual, (server,) = (str(service.key.address), service.key.port), service.servers
        found[virtual] = (str(server.address), server.port) if server.forward == "nat" else virtual
    return found


def end(one: Frame, which: str) -> End:
    """Return the source or the destination of a packet."""
    header = one.decoded().payload
    return header.getfieldval(which), header.payload.getfieldval(which[0] + "port")


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("local-")])
def test_what_the_director_serves_itself_goes_up(captured_director: Director, case: str) -> None:
    """XDP passes it, TC too: as it came, or with nat's address and port, and the TTL is not counted down."""
    where = servers(captured_director, case)
    came = [frame for is_in, frame in capture(case) if is_in]
    assert len(came) >= 4
    for frame in came:
        out = captured_director.packet(frame, "xdp")
        assert (out.verdict, out.packet) == (PASS, frame)
        out = captured_director.packet(frame)
        link = (frame[6:12].hex(":"), frame[:6].hex(":"))
        assert (out.verdict, out.packet) == (PASS, readdressed(frame, link, dst=where[end(frame, "dst")]))


def test_a_client_on_the_director(captured_director: Director) -> None:
    """Its packets leave as the kernel sent them, byte for byte, and answers come from the virtual address.

    The capture is of the link, so what the client sent and saw is made from what was sent and came.
    """
    where = {real: virtual for virtual, real in servers(captured_director, LOCAL_CLIENT).items()}
    for is_in, frame in capture(LOCAL_CLIENT):
        if is_in:
            out = captured_director.packet(frame)
            assert (out.verdict, out.packet) == (SENT, readdressed(frame, LOCAL, src=where[end(frame, "src")]))
        else:
            given = readdressed(frame, LOCAL, dst=where[end(frame, "dst")], ttl=64)
            out = captured_director.packet(given, "lo")
            assert (out.verdict, out.packet) == (SENT, frame)
    assert captured_director.states() == ["TIME_WAIT", "TIME_WAIT"]
    assert captured_director.drops() == {}
