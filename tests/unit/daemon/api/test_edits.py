"""The edits with owners: whatever was added by whom, nobody loses what is his but by force."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlvs.daemon.api import edits
from xlvs.daemon.api.types import read_endpoint
from xlvs.errors import InvalidError, OwnedError
from xlvs.model import Address, Server, Service, ServiceKey, State, endpoint

OWNERS = st.sampled_from(("cli", "api", "config:/a"))
ADDRESSES = (st.ip_addresses(v=4) | st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None)).map(
    lambda address: Address.parse(str(address))
)
SERVERS = st.builds(
    Server, st.just(Address.parse("10.0.0.1")), st.integers(1, 5), st.just("nat"), st.integers(0, 3), owner=OWNERS
)


@st.composite
def services(draw: st.DrawFn) -> Service:
    """A service of one of four keys, with up to five servers of several owners."""
    key = ServiceKey("tcp", Address.parse("192.0.2.1"), draw(st.integers(1, 4)))
    servers = {server.key: server for server in draw(st.lists(SERVERS, max_size=5))}
    return Service(key, servers=tuple(servers.values()), owner=draw(OWNERS))


STATES = st.lists(services(), max_size=5).map(lambda found: State({service.key: service for service in found}))


def foreign(state: State, owner: str) -> set[object]:
    """Return what is not *owner*'s: services by key, servers by service and key."""
    found: set[object] = {key for key, service in state.services.items() if service.owner != owner}
    return found | {(k, s.key) for k, service in state.services.items() for s in service.servers if s.owner != owner}


@given(STATES, OWNERS)
def test_flush_takes_all_that_is_ones_own_and_nothing_else(state: State, owner: str) -> None:
    """Of one's own only services stay in which others have servers; flushed again, nothing changes."""
    after = edits.flush(state, owner, force=False)
    assert foreign(after, owner) == foreign(state, owner)
    for service in after.services.values():
        assert all(server.owner != owner for server in service.servers)
        assert service.owner != owner or service.servers
    assert edits.flush(after, owner, force=False) == after
    assert edits.flush(state, owner, force=True).services == {}


@given(STATES, services(), OWNERS)
def test_put_service_is_there_as_given_or_refused(state: State, service: Service, owner: str) -> None:
    """Unforced nobody else loses a service or a server; forced all of it is the owner's."""
    given_ = Service(service.key, "rr", servers=tuple(Server(s.address, s.port, owner=owner) for s in service.servers))
    given_ = Service(given_.key, "rr", servers=given_.servers, owner=owner)
    assert edits.put_service(state, given_, force=True).services[service.key] == given_
    try:
        after = edits.put_service(state, given_, force=False)
    except OwnedError:
        assert foreign(state, owner)
        return
    assert foreign(state, owner) <= foreign(after, owner)
    kept = after.services[service.key]
    assert (kept.scheduler, [s.key for s in kept.servers]) == ("rr", [s.key for s in given_.servers])


@given(STATES, STATES)
def test_only_what_differs_is_put_in_force(have: State, want: State) -> None:
    """The keys that differ are enough to make one of the other."""
    keys = edits.differing(have, want)
    rest = {key: service for key, service in have.services.items() if key not in keys}
    assert {**rest, **edits.part(want, keys).services} == want.services
    assert edits.differing(have, have) == []


@given(ADDRESSES, st.integers(0, 65535))
def test_servers_are_named_as_they_are_printed(address: Address, port: int) -> None:
    """What stands in an answer can stand in a path."""
    assert read_endpoint(endpoint(address, port)) == (address, port)


@given(st.text())
def test_what_names_no_server_is_refused(text: str) -> None:
    """Any text is an address and a port, or an error of ours."""
    try:
        address, port = read_endpoint(text)
    except InvalidError:
        return
    assert read_endpoint(endpoint(address, port)) == (address, port)


@pytest.mark.parametrize(
    "text", ["10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "fd00::1:80", "[10.0.0.1:80", ":80", "10.0.0.1:٣"]
)
def test_half_a_name_is_refused(text: str) -> None:
    """With the form that is expected."""
    with pytest.raises(InvalidError):
        read_endpoint(text)
