"""Edits of the desired state: what each does, and that one which is refused changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from xlvs.errors import (
    InvalidError,
    NoSuchServerError,
    NoSuchServiceError,
    OwnedError,
    ServerExistsError,
    ServiceExistsError,
    XlvsError,
)
from xlvs.model import Address, Server, Service, ServiceKey, State
from xlvs.model.state import MAX_TIMEOUT

WEB, DNS = ServiceKey("tcp", Address.parse("192.0.2.1"), 80), ServiceKey("udp", Address.parse("192.0.2.1"), 53)
ONE, TWO = (Server(Address.parse(f"10.0.0.{last}"), 80, owner="file") for last in (1, 2))
SIX = Server(Address.parse("2001:db8::1"), 80)
HAVE = State({WEB: Service(WEB, servers=(ONE,), name="web", owner="file"), DNS: Service(DNS, servers=(ONE,))})


def servers(state: State, key: ServiceKey = WEB) -> tuple[Server, ...]:
    """Return the servers of a service."""
    return state.services[key].servers


def test_services_come_change_and_go() -> None:
    """The others, and the order, stay as they were."""
    state = HAVE.delete_service(WEB)
    assert list(state.services) == [DNS]
    assert list(state.add_service(HAVE.services[WEB]).services) == [DNS, WEB]
    edited = HAVE.edit_service(WEB, scheduler="rr")
    assert (list(edited.services), edited.services[WEB].scheduler, servers(edited)) == ([WEB, DNS], "rr", (ONE,))


def test_servers_come_change_and_go() -> None:
    """In the order in which they came; one that is edited keeps its place and its owner."""
    state = HAVE.add_server(WEB, TWO)
    assert servers(state) == (ONE, TWO)
    assert servers(state.edit_server(WEB, replace(ONE, weight=7, owner="cli"))) == (replace(ONE, weight=7), TWO)
    assert servers(state.delete_server(WEB, ONE.key)) == (TWO,)
    assert servers(state, DNS) == (ONE,)


@pytest.mark.parametrize("forward", ["ipip", "gre"])
def test_only_a_tunnel_leads_to_a_server_of_the_other_family(forward: str) -> None:
    """Whichever way the server comes: with its service, to it, or in place of one."""
    tunnel = replace(SIX, forward=forward)
    state = HAVE.delete_service(WEB).add_service(Service(WEB, servers=(tunnel,)))
    assert servers(HAVE.add_server(WEB, tunnel)) == (ONE, tunnel)
    calls: list[Callable[[Server], State]] = [
        lambda server: state.edit_server(WEB, server),
        lambda server: HAVE.add_server(WEB, server),
        lambda server: State().add_service(Service(WEB, servers=(server,))),
    ]
    for call in calls:
        with pytest.raises(InvalidError) as caught:
            call(SIX)
        assert str(caught.value) == (
            "route cannot carry IPv4 packets of 192.0.2.1:80/tcp to the IPv6 server [2001:db8::1]:80; "
            "only ipip, gue, gre can"
        )


@pytest.mark.parametrize(
    ("edit", "error", "why"),
    [
        (lambda: HAVE.add_service(Service(WEB)), ServiceExistsError, "virtual service 192.0.2.1:80/tcp exists already"),
        (
            lambda: HAVE.add_server(WEB, ONE),
            ServerExistsError,
            "virtual service 192.0.2.1:80/tcp has the real server 10.0.0.1:80 already",
        ),
        (
            lambda: HAVE.edit_server(WEB, TWO),
            NoSuchServerError,
            "virtual service 192.0.2.1:80/tcp has no real server 10.0.0.2:80",
        ),
        (
            lambda: HAVE.delete_server(WEB, TWO.key),
            NoSuchServerError,
            "virtual service 192.0.2.1:80/tcp has no real server 10.0.0.2:80",
        ),
        (
            lambda: HAVE.delete_service(WEB, owner="cli"),
            OwnedError,
            "virtual service 192.0.2.1:80/tcp belongs to file, not to cli; remove it there, or ask with force",
        ),
        (
            lambda: HAVE.delete_service(DNS, owner="cli"),
            OwnedError,
            "real server 10.0.0.1:80 of virtual service 192.0.2.1:53/udp belongs to file, not to cli; "
            "remove it there, or ask with force",
        ),
        (
            lambda: HAVE.delete_server(WEB, ONE.key, owner="cli"),
            OwnedError,
            "real server 10.0.0.1:80 of virtual service 192.0.2.1:80/tcp belongs to file, not to cli; "
            "remove it there, or ask with force",
        ),
        (lambda: HAVE.find("wbe"), NoSuchServiceError, "there is no virtual service 'wbe'"),
        (lambda: HAVE.find("tcp:192.0.2.1:81"), NoSuchServiceError, "there is no virtual service 192.0.2.1:81/tcp"),
        (
            lambda: HAVE.edit_service(replace(WEB, port=1)),
            NoSuchServiceError,
            "there is no virtual service 192.0.2.1:1/tcp",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(edit: Callable[[], State], error: type[XlvsError], why: str) -> None:
    """Each has an error of its own, for every door's own words, and a sentence."""
    with pytest.raises(error) as caught:
        edit()
    assert str(caught.value) == why


def test_an_owner_may_delete_what_is_its_own() -> None:
    """And whoever asks with force what is anybody's."""
    assert WEB not in HAVE.delete_service(WEB, owner="file").services
    assert servers(HAVE.delete_server(WEB, ONE.key, owner="file")) == ()
    assert DNS not in HAVE.delete_service(DNS, owner=None).services


def test_services_are_found_by_name_and_by_id() -> None:
    """A word with a colon is an id."""
    assert HAVE.find("web").key == HAVE.find("tcp:192.0.2.1:80").key == WEB
    assert HAVE.find("udp:192.0.2.1:53").key == DNS


def test_sysctls_at_their_default_are_not_kept() -> None:
    """What is written comes on top of what was, by name."""
    state = HAVE.with_sysctls({"sloppy_tcp": "1", "pmtu_disc": "0"})
    assert list(state.sysctls.items()) == [("pmtu_disc", "0"), ("sloppy_tcp", "1")]
    assert state.with_sysctls({"pmtu_disc": "1"}).sysctls == {"sloppy_tcp": "1"}


def test_a_new_state_has_the_timeouts_of_ipvs() -> None:
    """And nothing else (ip_vs_proto_tcp.c, ip_vs_proto_udp.c); the longest is 31 days (IP_VS_TIMEOUT_MAX)."""
    assert State() == State({}, {"tcp": 15 * 60, "tcpfin": 2 * 60, "udp": 5 * 60}, None, 0, {})
    assert MAX_TIMEOUT == 2678400
