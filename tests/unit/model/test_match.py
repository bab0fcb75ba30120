"""Which packets get a firewall mark from xlvs."""

from __future__ import annotations

import pytest

from xlvs.errors import InvalidError
from xlvs.model import Address, Match, Server, Service, ServiceKey


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("192.0.2.1",), "192.0.2.1"),
        (("192.0.2.1/32", "tcp", "80"), "192.0.2.1 tcp 80"),
        (("192.0.2.0/24", "udp", "8000-8099"), "192.0.2.0/24 udp 8000-8099"),
        (("0.0.0.0/0", "", "0-65535"), "0.0.0.0/0"),
        (("192.0.3.0/24",), "192.0.3.0/24"),
        (("2001:DB8::/32", "", "443"), "2001:db8::/32 443"),
    ],
)
def test_a_match_reads_as_it_is_shown(words: tuple[str, ...], shown: str) -> None:
    """Address or network, protocol and ports, where what is left out is all."""
    match = Match.parse(*words)
    assert str(match) == shown
    assert Match.parse(match.network, match.protocol, match.ports) == match
    assert Match(match.address, match.length) == Match.parse(match.network)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("192.0.2.1/24",), "192.0.2.1/24 is no network: bits behind the first 24 are set"),
        (("192.0.2.2/24",), "192.0.2.2/24 is no network: bits behind the first 24 are set"),
        (("192.0.2.0/0024",), "'192.0.2.0/0024' is no address or network; write one as 192.0.2.0/24"),
        (("192.0.2.0/999",), "192.0.2.0/999: an IPv4 prefix has 0 to 32 bits"),
        (("192.0.2.0/33",), "192.0.2.0/33: an IPv4 prefix has 0 to 32 bits"),
        (("192.0.2.0/x",), "'192.0.2.0/x' is no address or network; write one as 192.0.2.0/24"),
        (("192.0.2.0/24", "sctp"), "protocol 'sctp' of a match is none of tcp, udp"),
        (("192.0.2.0/24", "tcp", "90-80"), "ports 90-80 are no range within 0-65535"),
        (("192.0.2.0/24", "tcp", "65536"), "ports 65536 are no range within 0-65535"),
        (("192.0.2.0/24", "tcp", "80,90"), "'80,90' is no port or range of ports; write one as 8000-8099"),
    ],
)
def test_what_is_none(words: tuple[str, ...], why: str) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(InvalidError) as caught:
        Match.parse(*words)
    assert str(caught.value) == why


def test_whose_it_can_be() -> None:
    """A service by firewall mark of the same family."""
    match = (Match.parse("192.0.2.0/24"),)
    servers = (Server(Address.parse("10.0.0.1"), 0),)
    assert Service(ServiceKey.of_mark(1), servers=servers, match=match).match == match
    with pytest.raises(InvalidError, match="is no IPv6"):
        Service(ServiceKey.of_mark(1, 6), match=match)
    with pytest.raises(InvalidError, match="match is for services by firewall mark"):
        Service(ServiceKey("tcp", Address.parse("192.0.2.1"), 80), match=match)
