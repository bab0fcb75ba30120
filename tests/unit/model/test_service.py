"""Virtual services: what a key is, and which combinations make no sense."""

from __future__ import annotations

from typing import Any

import pytest

from xlvs.errors import InvalidError, UnknownEngineError
from xlvs.model import Address, Server, Service, ServiceKey

NAMES = (
    "a name has letters, digits, '.', '-' and '_' only, begins and ends with a letter or digit, and has 253 characters "
    "at most"
)
MASK, MASK6 = "is none of IPv4; write one as 255.255.255.0", "is none of IPv6; write the length of a prefix, 1 to 128"
VIP, VIP6 = Address.parse("192.0.2.1"), Address.parse("2001:db8::1")


def key(port: int = 80, protocol: str = "tcp", address: Address = VIP) -> ServiceKey:
    """Return a key."""
    return ServiceKey(protocol, address, port)


@pytest.mark.parametrize(
    ("made", "id_", "shown", "version", "mark"),
    [
        (key(), "tcp:192.0.2.1:80", "192.0.2.1:80/tcp", 4, 0),
        (key(65535, "sctp", VIP6), "sctp:[2001:db8::1]:65535", "[2001:db8::1]:65535/sctp", 6, 0),
        (key(0, "udp"), "udp:192.0.2.1:0", "192.0.2.1:0/udp", 4, 0),
        (ServiceKey.of_mark(1), "fwm:1", "firewall mark 1", 4, 1),
        (ServiceKey.of_mark(0xFFFFFFFF, 6), "fwm6:4294967295", "firewall mark 4294967295 (IPv6)", 6, 0xFFFFFFFF),
    ],
)
def test_a_key_has_an_id_that_reads_back(made: ServiceKey, id_: str, shown: str, version: int, mark: int) -> None:
    """One word for URLs, another for sentences."""
    assert (made.id, str(made), made.version, made.mark) == (id_, shown, version, mark)
    assert ServiceKey.parse(id_) == made


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("web", "'web' names no virtual service; write one as tcp:192.0.2.1:80"),
        ("tcp:192.0.2.1", "'tcp:192.0.2.1' names no virtual service; write one as tcp:192.0.2.1:80"),
        ("tcp:2001:db8::1:80", "'tcp:2001:db8::1:80' names no virtual service; write one as tcp:192.0.2.1:80"),
        ("tcp:192.0.2.1:٨٠", "'tcp:192.0.2.1:٨٠' names no virtual service; write one as tcp:192.0.2.1:80"),
        ("tcp:192.0.2.1:65536", "virtual service port 65536 is outside 0..65535"),
        ("icmp:192.0.2.1:80", "unknown protocol 'icmp' (one of tcp, udp, sctp, fwm)"),
        ("tcp:nowhere:80", "'nowhere' is not an IP address"),
        ("fwm:0", "firewall mark 0 is outside 1..4294967295"),
        ("fwm6:4294967296", "firewall mark 4294967296 is outside 1..4294967295"),
        ("fwm:192.0.2.1:80", "192.0.2.1 port 80 is no firewall mark"),
        ("fwm:0.0.0.0:0", "0.0.0.0 port 0 is no firewall mark"),
        ("fwm:[2001:db8::1]:0", "2001:db8::1 port 0 is no firewall mark"),
    ],
)
def test_what_names_no_service_is_refused(text: str, why: str) -> None:
    """One sentence, with what was written."""
    with pytest.raises(InvalidError) as caught:
        ServiceKey.parse(text)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("of", "more", "why"),
    [
        (key(), {"name": "-x"}, f"service name '-x': {NAMES}"),
        (key(), {"name": "x" * 254}, f"service name '{'x' * 254}': {NAMES}"),
        (key(), {"persistent": -1}, "persistence timeout -1 is outside 0..2678400 seconds"),
        (key(), {"persistent": 2678401}, "persistence timeout 2678401 is outside 0..2678400 seconds"),
        (key(), {"netmask": "255"}, f"netmask '255' of 192.0.2.1:80/tcp {MASK}"),
        (key(), {"netmask": "::"}, f"netmask '::' of 192.0.2.1:80/tcp {MASK}"),
        (key(address=VIP6), {"netmask": "0"}, f"netmask '0' of [2001:db8::1]:80/tcp {MASK6}"),
        (key(address=VIP6), {"netmask": "129"}, f"netmask '129' of [2001:db8::1]:80/tcp {MASK6}"),
        (key(address=VIP6), {"netmask": "/64"}, f"netmask '/64' of [2001:db8::1]:80/tcp {MASK6}"),
        (key(), {"ops": True}, "one-packet scheduling is for udp and firewall marks only, not for 192.0.2.1:80/tcp"),
        (
            ServiceKey.of_mark(7),
            {"device": "eth0"},
            "firewall mark 7 has no virtual address to be put on eth0; leave the device out",
        ),
        (
            key(0),
            {"name": "all"},
            "virtual service all (192.0.2.1:0/tcp) takes every port, so it must be persistent",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(of: ServiceKey, more: dict[str, Any], why: str) -> None:
    """One sentence, in which the service is called by its name, if it has one."""
    with pytest.raises(InvalidError) as caught:
        Service(of, **more)
    assert str(caught.value) == why


def test_an_unknown_engine_has_an_error_of_its_own() -> None:
    """ipvsadm has its own words for it."""
    with pytest.raises(UnknownEngineError, match="unknown persistence engine 'sips' .one of sip."):
        Service(key(), engine="sips")
    assert Service(key(protocol="udp"), engine="sip").engine == "sip"


@pytest.mark.parametrize(
    ("of", "more"),
    [
        (key(), {"name": "a" * 253}),
        (key(), {"name": "A.b-c_9"}),
        (key(0), {"persistent": 1}),
        (key(), {"persistent": 2678400}),
        (key(protocol="udp"), {"ops": True}),
        (ServiceKey.of_mark(1), {"ops": True}),
        (ServiceKey.of_mark(1), {}),
    ],
)
def test_what_makes_sense_is_taken(of: ServiceKey, more: dict[str, Any]) -> None:
    """Up to the limits."""
    assert Service(of, **more).key == of


@pytest.mark.parametrize(
    ("address", "netmask", "mask"),
    [
        (VIP, "", 0xFFFFFFFF),
        (VIP, "255.255.0.0", 0x0000FFFF),
        (VIP, "0.0.0.0", 0),
        (VIP6, "", 128),
        (VIP6, "1", 1),
        (VIP6, "128", 128),
    ],
)
def test_a_netmask_is_a_number_to_the_data_plane(address: Address, netmask: str, mask: int) -> None:
    """Of IPv4 the bytes as they lie in a packet, of IPv6 the length; without one each client is by itself."""
    assert Service(key(address=address), netmask=netmask).mask == mask


def test_servers_are_found_and_replaced() -> None:
    """By address and port; the service stays as it was."""
    one, other = (Server(Address.parse(f"10.0.0.{last}"), 80) for last in (1, 2))
    service = Service(key(), servers=(one,))
    changed = service.with_servers((one, other))
    assert (changed.server(other.key), service.server(other.key)) == (other, None)
    assert changed.server((other.address, 81)) is None
