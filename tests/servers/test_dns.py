"""The checks dns and udp against nsd."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.asking import UP, ask
from tests.servers.names import nsd

WWW = {"name": "www.example.org", "record": "A"}
QUESTION = "1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 036f7267 00 0001 0001"
"""For the A of www.example.org (RFC 1035 §4.1)."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Give out the port of a server."""
    with nsd() as server:
        yield server.ports["dns"]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        (WWW, UP),
        (WWW | {"records": 2}, UP),
        (WWW | {"records": 3}, "2 records A, not at least 3"),
        (WWW | {"answer": "192.0.2.3"}, UP),
        (WWW | {"answer": "192.0.2.4"}, "its answer is 192.0.2.2, 192.0.2.3, not 192.0.2.4"),
        (WWW | {"record": "AAAA", "answer": "2001:DB8:0::2"}, UP),
        (WWW | {"record": "MX"}, UP),
        (WWW | {"record": "MX", "records": 1}, "0 records MX, not at least 1"),
        ({"name": "example.org", "record": "MX", "answer": "10 Mail.example.org."}, UP),
        ({"name": "none.example.org", "record": "A"}, "response code NXDOMAIN, not NOERROR"),
        ({"name": "none.example.org", "record": "A", "rcode": "NXDOMAIN"}, UP),
        ({"name": "example.net"}, "response code REFUSED, not NOERROR"),
    ],
)
def test_an_answer_is_judged(port: int, family: int, transport: str, options: dict[str, Any], verdict: str) -> None:
    """The response code, the number of records and one record are looked at, by UDP and TCP."""
    assert ask("dns", port, options | {"transport": transport}, family) == verdict


def test_an_answer_that_udp_cuts_short_is_whole_by_tcp(port: int) -> None:
    """A record that does not fit into a datagram is seen by TCP, and UDP says why it is not."""
    long = {"name": "long.example.org", "record": "TXT", "records": 1}
    assert ask("dns", port, long) == "0 records TXT, not at least 1; the answer was cut short"
    assert ask("dns", port, long | {"transport": "tcp"}) == UP


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"require_reply": ""}, UP),
        ({"require_reply": "1234 8XXX 0001 0002"}, UP),
        ({"require_reply": "12 34 85 00 00 01 00 03"}, "its reply begins with 12 34 85 00 00 01 00 02, not 12 34"),
        ({"min_reply_length": 20, "max_reply_length": 400}, UP),
        ({"min_reply_length": 400}, "bytes, not at least 400"),
        ({"max_reply_length": 20}, "bytes, not at most 20"),
        ({}, UP),
    ],
)
def test_a_datagram_is_judged(port: int, family: int, options: dict[str, Any], verdict: str) -> None:
    """The bytes of a reply and its length are looked at."""
    assert verdict in ask("udp", port, options | {"payload": QUESTION}, family)
