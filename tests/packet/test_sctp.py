"""SCTP: opened by an INIT, followed through the states of IPVS, and its CRC32c right whatever nat changes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from scapy.layers.sctp import SCTP, crc32c

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, real
from tests.packet.frames import (
    FROM_CLIENT,
    TO_CLIENT,
    Frame,
    Link,
    at,
    ends,
    frame,
    from_real,
    from_server,
    from_vip,
    ip_header,
    to_real,
    to_server,
    to_vip,
    udp,
)
from tests.packet.sctp_table import CHUNKS, NEXT, OF_DATA


def chunk(kind: str | int, value: bytes = b"") -> bytes:
    """Return a chunk with its padding."""
    number = CHUNKS[kind] if isinstance(kind, str) else kind
    return bytes([number, 0]) + (4 + len(value)).to_bytes(2, "big") + value + bytes(-len(value) % 4)


def bare(sport: int, dport: int, chunks: bytes, check: int | None = None) -> bytes:
    """Return an SCTP packet; the checksum is computed bit by bit over all of it, unless *check* gives another."""
    header = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + b"\x12\x34\x56\x78"
    value = crc32c(header + bytes(4) + chunks) if check is None else check
    return header + value.to_bytes(4, "big") + chunks


def sctp(
    way: str, chunks: str | bytes = "init", *, link: Link = FROM_CLIENT, check: int | None = None, **fields: Any
) -> Frame:
    """Return a packet with one chunk of a kind, or with these bytes for chunks."""
    e = ends(way)
    content = chunk(chunks, b"\1" * 16) if isinstance(chunks, str) else chunks
    fields.setdefault("nh" if e.version == 6 else "proto", 132)
    return frame(ip_header(e, **fields) / bare(e.sport, e.dport, content, check), link)


def test_our_checksum_is_that_of_others() -> None:
    """The tests' way to compute it agrees with scapy's layer, and with the check value of the CRC."""
    assert bytes(SCTP(sport=1, dport=2, tag=0x12345678) / b"abcd") == bare(1, 2, b"abcd")


def test_nat_there_and_back(director: Director, family: int) -> None:
    """Addresses, ports and the checksum change; XDP leaves all of it to TC."""
    director.serve(family, "sctp")
    assert director.packet(sctp(to_vip(family)), "xdp").verdict is PASS
    out = director.packet(sctp(to_vip(family), tos=0x4B))
    assert out.packet == sctp(to_real(family), tos=0x4B, ttl=63, link=to_server(1))
    assert out.verdict is SENT
    assert director.states() == ["INIT1"]
    out = director.packet(sctp(from_real(family), "init-ack", link=from_server(1)))
    assert out.packet == sctp(from_vip(family), "init-ack", ttl=63, link=TO_CLIENT)
    assert director.drops() == {}
    assert director.states() == ["C-SENT"]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 7, 64, 255, 256, 1024, 1456])
def test_the_checksum_follows_the_port_at_any_length(director: Director, length: int) -> None:
    """The distance from the port to the end goes into it; bytes of the payload do not."""
    director.serve(4, "sctp")
    some = random.Random(length).randbytes(length)
    director.packet(sctp(to_vip(4)))
    assert director.packet(sctp(to_vip(4), chunk(0, some))).packet == sctp(
        to_real(4), chunk(0, some), ttl=63, link=to_server(1)
    )


def test_a_checksum_that_is_to_be_filled_in_stays_empty(director: Director) -> None:
    """CHECKSUM_PARTIAL: whoever fills it in sums what it finds."""
    director.serve(4, "sctp")
    assert director.packet(sctp(to_vip(4), check=0)).packet == sctp(to_real(4), check=0, ttl=63, link=to_server(1))


def test_a_wrong_checksum_stays_wrong(director: Director) -> None:
    """What was damaged before the director is not made good by it."""
    director.serve(4, "sctp")
    damaged = Frame(director.packet(sctp(to_vip(4)).with_byte(60, 0xEE)).packet)
    assert damaged == sctp(to_real(4), ttl=63, link=to_server(1)).with_byte(60, 0xEE)


@pytest.mark.parametrize("forward", ["route", "ipip", "gue", "gre"])
def test_other_methods_leave_the_packet_as_it_is(director: Director, family: int, forward: str) -> None:
    """route changes the MACs and the TTL; tunnels go around."""
    director.service(f"{at(net.VIP[family], 80)}/sctp", f"{at(net.server(family, 1), 80)} {forward}")
    out = director.packet(sctp(to_vip(family)))
    assert out.verdict is SENT
    inside = sctp(to_vip(family), ttl=63 if forward == "route" else 64, link=to_server(1))
    assert out.packet.endswith(inside[-32:])
    if forward == "route":
        assert out.packet == inside
    assert director.states() == ["INIT1"]


@pytest.mark.parametrize("kind", [kind for kind in CHUNKS if kind != "init"])
def test_only_an_init_opens_a_flow(director: Director, kind: str) -> None:
    """With sloppy_sctp all but an ABORT does, and begins in the state that the table says."""
    director.serve(4, "sctp")
    assert director.packet(sctp(to_vip(4), kind)).verdict is PASS
    director.configure(sysctls={"sloppy_sctp": "1"})
    out = director.packet(sctp(to_vip(4), kind))
    if kind == "abort":
        assert (out.verdict, director.states()) == (PASS, [])
    else:
        assert (out.verdict, director.states()) == (SENT, [NEXT["input", kind, "NONE"]])


WAYS = {
    "INIT1": "> init",
    "INIT": "> init > init",
    "C-SENT": "> init < init-ack",
    "C-REPLIED": "> init < init-ack > cookie-echo",
    "C-WAIT": "> init < init",
    "COOKIE": "> init < init > init-ack",
    "C-ECHOED": "> init < cookie-echo",
    "ESTABLISHED": "> init < init-ack > cookie-echo < cookie-ack",
    "S-SENT": "> init < init-ack > cookie-echo < cookie-ack < shutdown",
    "S-RECEIVED": "> init < init-ack > cookie-echo < cookie-ack > shutdown",
    "S-ACK-SENT": "> init < init-ack > cookie-echo < cookie-ack > shutdown < shutdown-ack",
    "REJECTED": "> init < abort",
    "CLOSED": "> init < init-ack > cookie-echo < cookie-ack > abort",
}


def send(director: Director, who: str, kind: str | bytes) -> None:
    """Send a packet from the client, or from its server behind nat."""
    director.packet(sctp(to_vip(4), kind) if who == ">" else sctp(from_real(4), kind, link=from_server(1)))


def into(director: Director, state: str) -> None:
    """Bring a flow into a state."""
    director.clear_flows()
    words = WAYS[state].split()
    for who, kind in zip(words[::2], words[1::2], strict=True):
        send(director, who, kind)
    assert director.states() == [state]


@pytest.mark.parametrize("state", WAYS)
def test_every_chunk_in_every_state_leads_where_it_does_in_ipvs(director: Director, state: str) -> None:
    """From both sides; only established flows count as active."""
    director.serve(4, "sctp")
    for who, direction in ((">", "input"), ("<", "output")):
        for kind in CHUNKS:
            if state == "CLOSED" and (who, kind) == (">", "init"):
                continue  # a new association: see below
            into(director, state)
            send(director, who, kind)
            after = NEXT[direction, kind, state]
            assert director.states() == [after], f"{kind} {direction}"
            assert director.load(real(4)) == ((1, 0) if after == "ESTABLISHED" else (0, 1))


def test_without_replies_the_clients_packets_alone_decide(director: Director) -> None:
    """Where replies bypass the director IPVS has a table of its own, and 300 random packets agree with it."""
    director.service(f"{net.VIP[4]}:80/sctp", f"{at(net.server(4, 1), 80)} route")
    dice = random.Random(2)
    director.packet(sctp(to_vip(4)))
    state = "INIT1"
    for kind in dice.choices(list(CHUNKS), k=300):
        if state == "CLOSED":
            director.clear_flows()
            state, kind = "NONE", "init"
        director.packet(sctp(to_vip(4), kind))
        state = NEXT["input-only", kind, state]
        assert director.states() == [state], kind


def test_other_chunks_are_data_and_none_is_nothing(director: Director) -> None:
    """A type that nobody knows changes as much as data; a packet without a chunk changes nothing."""
    director.serve(4, "sctp")
    into(director, "ESTABLISHED")
    for number in OF_DATA:
        send(director, ">", chunk(number))
        assert director.states() == ["ESTABLISHED"]
    assert director.packet(sctp(to_vip(4), b"")).packet == sctp(to_real(4), b"", ttl=63, link=to_server(1))
    assert director.packet(sctp(to_vip(4, 4001), b"")).verdict is PASS
    assert director.states() == ["ESTABLISHED"]


@pytest.mark.parametrize("length", [16, 17, 300])
def test_an_abort_behind_a_cookie_counts(director: Director, length: int) -> None:
    """The one case of a second chunk that matters."""
    director.serve(4, "sctp")
    into(director, "C-SENT")
    send(director, ">", chunk("cookie-echo", b"c" * length) + chunk("abort"))
    assert director.states() == ["CLOSED"]


def test_an_init_on_a_closed_flow_is_scheduled_anew(director: Director) -> None:
    """As conn_reuse_mode says; without it the flow goes on with its server."""
    director.service(f"{net.VIP[4]}:80/sctp", f"{real(4, 'nat', 1)} nat", f"{real(4, 'nat', 2)} nat")
    for mode, other in (("1", True), ("0", False)):
        director.clear_flows()
        director.configure(sysctls={"conn_reuse_mode": mode})
        director.packet(sctp(to_vip(4)))
        before = director.flows()[0].server
        director.packet(sctp(to_vip(4), "abort"))
        assert director.states() == ["CLOSED"]
        director.packet(sctp(to_vip(4)))
        assert (director.flows()[0].server != before, director.states()) == (other, ["INIT1" if other else "INIT"])


def test_protocols_have_flows_of_their_own(director: Director) -> None:
    """The same ends in UDP and in SCTP are two flows."""
    director.serve(4, "sctp")
    director.serve(4, "udp")
    director.packet(sctp(to_vip(4)))
    director.packet(udp(to_vip(4)))
    assert sorted(director.states()) == ["INIT1", "UDP"]


def test_fragments_of_a_packet_whose_port_would_change_are_dropped(director: Director) -> None:
    """The checksum is over bytes that are not here."""
    director.serve(4, "sctp")
    assert director.packet(sctp(to_vip(4), chunk("init", bytes(20)), flags="MF", df=False)).verdict is DROP


def test_without_a_server_the_client_is_told(director: Director, family: int) -> None:
    """Port unreachable, which quotes the packet as it came."""
    director.service(f"{at(net.VIP[family], 80)}/sctp")
    asked = sctp(to_vip(family))
    out = director.packet(asked)
    assert out.verdict is SENT
    assert out.packet.endswith(asked.ip)


def test_a_segmented_packet_fits(director: Director) -> None:
    """A packet of segments of any size is not taken for one of 65,535 bytes."""
    director.serve(4, "sctp")
    director.packet(sctp(to_vip(4)))
    long = sctp(to_vip(4), chunk(0, bytes(3000)), check=0)
    assert director.packet(long, gso_size=0xFFFF).verdict is SENT
