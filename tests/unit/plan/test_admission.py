"""Admission: what xlvs does not do yet is refused with a sentence, whatever door it came in by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlvs.errors import InvalidError, ServiceExistsError, UnknownSchedulerError, XlvsError
from xlvs.model import Address, Server, Service, ServiceKey, State
from xlvs.plan.admission import admit, admit_name, is_unicast

WEB = ServiceKey("tcp", Address.parse("192.0.2.1"), 80)
WEB6 = ServiceKey("tcp", Address.parse("fe80::a00:1"), 80)
"""Link-local, as its neighbour: the first twelve bytes of both are the same."""
REAL = Address.parse("10.0.0.1")


def test_what_xlvs_can_do_is_admitted() -> None:
    """Every flag of every scheduler, and servers of either family."""
    servers = (Server(REAL, 80, "nat", 0), Server(Address.parse("2001:db8::1"), 80, "ipip"))
    admit(Service(WEB, "mh", frozenset(("flag-1", "flag-2", "flag-3")), servers))


@pytest.mark.parametrize(
    ("service", "error", "words"),
    [
        (Service(WEB, "wlcc"), UnknownSchedulerError, "did you mean 'wlc'"),
        (Service(WEB, "rr", frozenset(["flag-9"])), InvalidError, "unknown scheduler flag 'flag-9'"),
        (
            Service(WEB, "mh", table=4096),
            InvalidError,
            "cannot have a table of 4096 entries: mh can, of 251, 509, 1021",
        ),
        (Service(WEB, "wlc", table=4093), InvalidError, "cannot have a table of 4093 entries"),
        (Service(WEB, servers=(Server(Address.parse("239.0.0.1"), 80),)), InvalidError, "no unicast address"),
        (Service(WEB, servers=(Server(Address.parse("fd00::1"), 80, "nat"),)), InvalidError, "nat cannot carry IPv4"),
        (Service(WEB6, servers=(Server(REAL, 80, "nat"),)), InvalidError, "nat cannot carry IPv6"),
        (Service(WEB6, servers=(Server(Address.parse("fe80::a00:2"), 80),)), InvalidError, "no unicast address"),
    ],
)
def test_what_xlvs_cannot_do_is_refused(service: Service, error: type[XlvsError], words: str) -> None:
    """Each has its own kind of error and a sentence."""
    with pytest.raises(error, match=words):
        admit(service)


def test_a_name_is_that_of_one_service() -> None:
    """Another service's name is refused, one's own and none at all are not."""
    web = Service(WEB, name="web")
    state = State().add_service(web)
    other = ServiceKey("udp", WEB.address, 80)
    admit_name(state, web)
    admit_name(state, Service(other))
    with pytest.raises(ServiceExistsError, match="the name web is taken by virtual service 192.0.2.1:80/tcp"):
        admit_name(state, Service(other, name="web"))


@given(st.ip_addresses())
def test_unicast_is_as_the_standard_library_has_it(address: object) -> None:
    """Neither multicast nor unspecified, neither the broadcast of IPv4 nor a link-local address of IPv6."""
    text = str(address)
    if not text.startswith("::ffff:"):
        found = Address.parse(text).ip
        local = found.version == 6 and found.is_link_local
        expected = not (found.is_multicast or found.is_unspecified or local or text == "255.255.255.255")
        assert is_unicast(Address.parse(text)) == expected
