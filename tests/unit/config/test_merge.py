"""A document becomes part of the desired state, and what differs is told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from xlvs.config import Difference, Document, ServerDifference, differences, load, merge, render, summary
from xlvs.errors import OwnedError, ServiceExistsError
from xlvs.model import Address, Server, Service, ServiceKey, State

MINE, CLI = "config:/f", "cli"


def key(port: int) -> ServiceKey:
    """Return a service's key."""
    return ServiceKey("tcp", Address.parse("192.0.2.1"), port)


def server(last: int, owner: str = MINE, weight: int = 1) -> Server:
    """Return 10.0.0.*last*."""
    return Server(Address.parse(f"10.0.0.{last}"), 80, "nat", weight, owner=owner)


def service(port: int, *servers: Server, owner: str = MINE, name: str = "") -> Service:
    """Return a service."""
    return Service(key(port), servers=servers, owner=owner, name=name)


def state(*services: Service) -> State:
    """Return a state."""
    return State({s.key: s for s in services})


def test_an_owners_services_become_the_documents() -> None:
    """Added, changed, removed; those of others stay."""
    have = state(service(1), service(2), service(3, owner=CLI))
    new = merge(have, Document(services=(service(4), service(2, server(1)))), MINE)
    assert new == state(service(2, server(1)), service(3, owner=CLI), service(4))


def test_what_does_not_change_is_the_same_object() -> None:
    """So that the rest need not be compared."""
    have = state(service(1, server(1)))
    new = merge(have, Document(services=(service(1, server(1)),)), MINE)
    assert new.services[key(1)] is have.services[key(1)]
    assert differences(have, new) == []


def test_everything_in_a_document_becomes_its_owners() -> None:
    """Whoever it says it belongs to."""
    new = merge(State(), Document(services=(service(1, server(1, CLI), owner="x"),)), MINE)
    assert new == state(service(1, server(1)))


def test_servers_of_others_stay_behind_the_documents() -> None:
    """Added by xlvsadm to a service of the file."""
    have = state(service(1, server(1), server(9, CLI), server(2)))
    new = merge(have, Document(services=(service(1, server(3)),)), MINE)
    assert new.services[key(1)].servers == (server(3), server(9, CLI))


def test_what_another_owner_has_is_refused() -> None:
    """A service, a server, and a service that others have servers in."""
    have = state(service(1, owner=CLI), service(2, server(9, CLI)))
    for document, sentence in (
        (
            Document(services=(service(1), service(2))),
            "virtual service 192.0.2.1:1/tcp belongs to cli, not",
        ),
        (Document(services=(service(2, server(9)),)), "real server 10.0.0.9:80 of .* belongs to cli, not to config:/f"),
        (Document(), "cannot be removed: its real server 10.0.0.9:80 belongs to cli"),
    ):
        with pytest.raises(OwnedError, match=sentence):
            merge(have, document, MINE)


def test_taking_over() -> None:
    """A service comes without the servers of its former owner, and keeps those of third ones."""
    have = state(service(1, server(1, CLI), server(2, "api"), owner=CLI), service(2, server(9, CLI)))
    new = merge(have, Document(services=(service(1, server(3)),)), MINE, take_over=True)
    assert new == state(service(1, server(3), server(2, "api")))
    new = merge(state(service(1, server(1, CLI))), Document(services=(service(1, server(1)),)), MINE, take_over=True)
    assert new == state(service(1, server(1)))


def test_a_name_is_there_once() -> None:
    """Also across owners."""
    have = state(service(1, owner=CLI, name="web"))
    with pytest.raises(ServiceExistsError, match="the name 'web' is taken twice: by 192.0.2.1:1/tcp of cli and by"):
        merge(have, Document(services=(service(2, name="web"),)), MINE)


def test_interfaces_change_only_if_the_document_says_so() -> None:
    """Left out is not auto."""
    have = replace(State(), interfaces={"eth0": "xdp"})
    assert merge(have, Document(), MINE).interfaces == {"eth0": "xdp"}
    assert merge(have, Document(interfaces=None), MINE).interfaces is None
    assert merge(have, Document(interfaces={}), MINE).interfaces == {}


def test_differences_and_how_they_read() -> None:
    """Whole services with all that they have, changed ones with what was before."""
    have = state(service(1, server(1), server(2), server(3), name="web"), service(2, server(1)))
    changed = replace(
        service(1, server(3), server(1, weight=5), server(4), name="shop"),
        scheduler="mh", flags=frozenset({"flag-2"}), device="eth0",
    )  # fmt: skip
    want = replace(state(changed, service(3, server(1, weight=0))), interfaces={"eth0": "tc"})
    found = differences(have, want)
    assert (
        render(found)
        == """\
~ interfaces: auto -> eth0: tc
~ service shop tcp:192.0.2.1:1
    ~ name: web -> shop
    ~ scheduler: wlc -> mh
    ~ options: none -> mh-port
    ~ device: none -> eth0
    ~ order of servers: 10.0.0.1:80 10.0.0.3:80 -> 10.0.0.3:80 10.0.0.1:80
    ~ server 10.0.0.1:80 (weight: 1 -> 5)
    - server 10.0.0.2:80 (nat, weight 1)
    + server 10.0.0.4:80 (nat, weight 1)
- service tcp:192.0.2.1:2 (wlc, owner config:/f)
    - server 10.0.0.1:80 (nat, weight 1)
+ service tcp:192.0.2.1:3 (wlc, owner config:/f)
    + server 10.0.0.1:80 (nat, weight 0)
"""
    )
    assert summary(found) == "1 service added, 1 changed, 1 removed, interfaces changed"
    assert found[2] == Difference(
        "remove", "service", "tcp:192.0.2.1:2", "", {"scheduler": ("wlc", None), "owner": ("config:/f", None)},
        (ServerDifference("remove", "10.0.0.1:80", {k: (v, None) for k, v in
                                                    (("forward", "nat"), ("weight", 1), ("owner", "config:/f"))}),),
    )  # fmt: skip


def test_timeouts_differ_too() -> None:
    """xlvsadm can change them."""
    have = State()
    found = differences(have, replace(have, timeouts={**have.timeouts, "udp": 60}))
    assert render(found) == "~ timeouts udp: 300 -> 60\n"
    assert (summary(found), summary([])) == ("timeouts changed", "nothing changed")


def test_applying_twice_is_applying_once() -> None:
    """The order of a file is the order of its servers, and that is a state of rest."""
    text = "services: [{listen: {address: 192.0.2.1, port: 1}, servers: [{address: 10.0.0.2}, {address: 10.0.0.1}]}]"
    document = load(text, filename="f", owner=MINE)
    once = merge(state(service(1, server(1), server(9, CLI))), document, MINE)
    assert differences(once, merge(once, document, MINE)) == []


def test_timeouts_and_sysctls_that_are_named_change() -> None:
    """Others stay, and what is at its default again is not kept."""
    have = State(sysctls={"sloppy_tcp": "1", "drop_entry": "3"}, timeouts={"tcp": 1, "tcpfin": 2, "udp": 3})
    text = "timeouts: {tcp: 15m, udp: 30}\nsysctls: {net.ipv4.vs.sloppy_tcp: 0, pmtu_disc: 0, sync_threshold: 3 50}"
    new = merge(have, load(f"services: []\n{text}", filename="f", owner=MINE), MINE)
    assert new.timeouts == {"tcp": 900, "tcpfin": 2, "udp": 30}
    assert new.sysctls == {"drop_entry": "3", "pmtu_disc": "0"}
    assert "~ timeouts tcp: 1 -> 900\n" in render(differences(have, new))
