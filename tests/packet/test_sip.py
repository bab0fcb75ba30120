"""Persistence by the Call-ID of SIP, against the captured runs of a kernel (04-sip)."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import DROP, PASS, SENT, Director, Out, at
from tests.packet.frames import TO_CLIENT, from_server, tcp, to_server, udp
from xlvs.model import Address, Server, Service, ServiceKey

OTHER = {4: "198.51.100.9", 6: "2001:db8:c::9"}


def serve(director: Director, family: int, *, weight: int = 1, **more: object) -> None:
    """Put a service with three servers in force, as in the captures."""
    servers = tuple(Server(Address.parse(net.server(family, n)), 5060, "nat", weight) for n in (1, 2, 3))
    key = more.pop("key", ServiceKey("udp", Address.parse(net.VIP[family]), 5060))
    more = {"persistent": 300, "engine": "sip", **more}
    director.put(Service(key, "rr", servers=servers, **more))  # type: ignore[arg-type]


def message(header: str, line: str = "\r\n") -> bytes:
    """Return a request with this header, among others."""
    lines = [
        "INVITE sip:bob@example.net SIP/2.0",
        "Via: SIP/2.0/UDP 10.0.0.1:5060",
        header,
        "Content-Length: 0",
        "",
        "",
    ]
    return line.join(lines).encode()


def send(director: Director, family: int, payload: bytes, port: int = 5060, client: str = "") -> Out:
    """Send a datagram by XDP and, as it leaves it alone, by TC."""
    sent = udp(f"{at(client or net.CLIENT[family], port)} > {at(net.VIP[family], 5060)}", payload)
    first = director.packet(sent, "xdp")
    if first.verdict is PASS:
        assert first.packet == sent
        return director.packet(sent)
    return first


def chosen(out: Out) -> int | None:
    """Return the number of the server that a datagram went to."""
    return int(out.packet[:6].hex(":")[-2:]) if out.verdict is SENT else None


def asked(director: Director, family: int, call: str, port: int = 5060, client: str = "") -> int | None:
    """Return which server gets a message of this call."""
    return chosen(send(director, family, message(f"Call-ID: {call}"), port, client))


def test_without_ops_a_flow_wins(director: Director, family: int) -> None:
    """The captured run `sip-persist`: the same choices."""
    serve(director, family)
    other, third = OTHER[family], OTHER[family].replace("9", "8")
    calls = [("A", 5060), ("B", 5061), ("A", 5062), ("C", 5060), ("B", 5060)]
    assert [asked(director, family, f"call-{c}@lab", port) for c, port in calls] == [3, 2, 3, 3, 3]
    assert asked(director, family, "call-A@lab", 5060, other) == 1
    assert asked(director, family, "call-D@lab", 5060, other) == 1
    assert asked(director, family, "call-A@lab", 5063, third) == 3
    assert director.states().count("ASSURED") == 4


def test_with_ops_the_call_decides(director: Director, family: int) -> None:
    """The captured run `sip-persist-o`, and answers come from the virtual address."""
    serve(director, family, ops=True)
    calls = [("A", 5160), ("B", 5161), ("A", 5162), ("C", 5160), ("B", 5160)]
    found = [asked(director, family, f"call-{c}@lab2", port) for c, port in calls]
    assert found == [3, 2, 3, 1, 2]
    assert asked(director, family, "call-A@lab2", 5160, OTHER[family]) == 3
    assert asked(director, family, "call-D@lab2", 5160, OTHER[family]) == 2
    assert asked(director, family, "call-A@lab2", 5163, OTHER[family].replace("9", "8")) == 1
    assert set(director.states()) == {"ASSURED"}
    back = f"{at(net.server(family, 3), 5060)} > {at(net.CLIENT[family], 5160)}"
    out = director.packet(udp(back, b"SIP/2.0 200 OK", link=from_server(3)))
    want = f"{at(net.VIP[family], 5060)} > {at(net.CLIENT[family], 5160)}"
    assert out.packet == udp(want, b"SIP/2.0 200 OK", ttl=63, link=TO_CLIENT)


def test_a_server_may_speak_first(director: Director, family: int) -> None:
    """From the virtual address; without ops its flow is there for the answer (ip_vs_new_conn_out)."""
    serve(director, family)
    way = f"{at(net.server(family, 2), 5060)} > {at(net.CLIENT[family], 5999)}"
    out = director.packet(udp(way, message("Call-ID: fresh@lab"), link=from_server(2)))
    want = f"{at(net.VIP[family], 5060)} > {at(net.CLIENT[family], 5999)}"
    assert out.packet == udp(want, message("Call-ID: fresh@lab"), ttl=63, link=TO_CLIENT)
    assert sorted(director.states()) == ["ASSURED", "UDP"]
    sent = send(director, family, message("Call-ID: fresh@lab"), 5999)
    to = f"{at(net.CLIENT[family], 5999)} > {at(net.server(family, 2), 5060)}"
    assert sent.packet == udp(to, message("Call-ID: fresh@lab"), ttl=63, link=to_server(2))


@pytest.mark.parametrize("ops", [False, True], ids=["flows", "ops"])
def test_a_call_that_a_server_begins_is_its_own(director: Director, family: int, ops: bool) -> None:
    """What the client says of it comes to the server, from any of its ports (`sip-server-initiated-o`)."""
    serve(director, family, ops=ops)
    for number in (1, 2):
        way = f"{at(net.server(family, number), 5060)} > {at(net.CLIENT[family], 5060)}"
        director.packet(udp(way, message(f"Call-ID: of-{number}@lab"), link=from_server(number)))
        assert asked(director, family, f"of-{number}@lab", 7000 + number) == number


READ = [
    "i: compact@lab", "I:compact2", "Call-ID:nospace@lab", "call-id: lower@lab", "CALL-ID: UPPER@lab",
    "Call-ID : spacebefore@lab", "Call-ID: " + "L" * 251 + "@lab", "Call-ID: " + "x" * 255,
    "Call-ID: a-.!%*_+`'~()<>:\\\"/[]?{}@lab", "Call-ID: no-at", "Subject: x\r\n more\r\nCall-ID: folded@lab",
    "Identity: x\r\nCall-Info: y\r\nCall-ID: after@lab",
]  # fmt: skip


@pytest.mark.parametrize("header", READ)
@pytest.mark.parametrize("line", ["\r\n", "\n"])
def test_spellings(director: Director, header: str, line: str) -> None:
    """The same Call-ID has the same server, another has another."""
    serve(director, 4, ops=True)
    found = [
        chosen(send(director, 4, message(h, line), port)) for port, h in enumerate((header, header, header + "x"), 5000)
    ]
    if len(header) > 255:
        assert found == [3, 3, None]
    else:
        assert found == [3, 3, 2]


UNREAD = [
    "Call-ID:   sp3@lab  ", "Call-ID: with space@lab", "X: y", "Call-ID: ", "Call-ID", "Call-ID: " + "x" * 256,
    "Call-ID: @lab", "Call-ID: a@", "Call-ID: a@b@c", "Call-IDs: a", " Call-ID: continued@lab",
    "XCall-ID: a", "ix: a", "Call-ID; a",
]  # fmt: skip


@pytest.mark.parametrize("header", UNREAD)
def test_what_cannot_be_read_is_dropped(director: Director, header: str) -> None:
    """Without a word to the client, as by IPVS."""
    serve(director, 4, ops=True)
    assert send(director, 4, message(header)).verdict is DROP
    assert director.drops() == {"no_call": 1}
    assert director.live() == 0


@pytest.mark.parametrize(
    "payload", [b"", b"garbage", b"Call-ID: first@line\r\n", b"x\r\nCall-ID: cut", b"\r\n" * 700, bytes(1400)]
)
def test_garbage_is_dropped(director: Director, payload: bytes) -> None:
    """Likewise."""
    serve(director, 4)
    assert send(director, 4, payload).verdict is DROP
    assert director.drops() == {"no_call": 1}


def test_case_matters(director: Director) -> None:
    """In the Call-ID, not in the header's name."""
    serve(director, 4, ops=True)
    assert [asked(director, 4, call) for call in ("a@lab", "A@lab", "a@lab")] == [3, 2, 3]


def test_weight_0(director: Director, family: int) -> None:
    """Known calls go on, who begins a new one is told (`sip-weight0`)."""
    serve(director, family, ops=True)
    assert asked(director, family, "w0@lab") == 3
    serve(director, family, ops=True, weight=0)
    assert asked(director, family, "w0@lab", 6301) == 3
    assert asked(director, family, "w0new@lab", 6302) not in (1, 2, 3)
    assert director.drops() == {"no_server": 1}
    assert director.counters().get("icmp_sent", 0) == 1


def test_an_answer_opens_no_second_template(director: Director, family: int) -> None:
    """Of a call that is known already, whoever speaks."""
    serve(director, family, ops=True)
    assert asked(director, family, "a@lab") == 3
    back = f"{at(net.server(family, 3), 5060)} > {at(net.CLIENT[family], 5060)}"
    for _ in range(2):
        assert director.packet(udp(back, message("Call-ID: a@lab"), link=from_server(3))).verdict is SENT
    assert director.states() == ["ASSURED"]


def test_clients_of_a_network_are_one(director: Director, family: int) -> None:
    """The netmask is part of it (-M)."""
    serve(director, family, ops=True, netmask="255.255.255.0" if family == 4 else "64")
    assert asked(director, family, "a@lab") == asked(director, family, "a@lab", 5061, OTHER[family]) == 3
    assert asked(director, family, "b@lab") == 2


def test_tcp_is_dropped(director: Director) -> None:
    """The engine reads datagrams only (ip_vs_sip_fill_param)."""
    serve(director, 4, key=ServiceKey("tcp", Address.parse(net.VIP[4]), 5060))
    assert director.packet(tcp(f"{at(net.CLIENT[4], 4000)} > {at(net.VIP[4], 5060)}", "S")).verdict is DROP


def test_other_services_are_not_read(director: Director, hook: str, family: int) -> None:
    """Their datagrams need no Call-ID."""
    serve(director, family)
    director.serve(family, "udp")
    out = director.packet(udp(f"{at(net.CLIENT[family], 4000)} > {at(net.VIP[family], 80)}", b"x"), hook)
    assert out.verdict is SENT
