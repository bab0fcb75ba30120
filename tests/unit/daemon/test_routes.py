"""Where the real servers are: one by one, or by region."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.daemon.host import FakeNetlink
from xlvs.daemon.host.netlink import ROUTE_LOCAL, ROUTE_UNICAST, OwnAddress, Route
from xlvs.daemon.host.regions import BITS, Prefix, Regions, prefix, source_prefixes
from xlvs.daemon.host.routes import FEW, PROBES, Routes
from xlvs.model import Address

VIP = Address.parse("192.0.2.1")
SERVER = Address.parse("10.0.0.1")
FAR = Address.parse("10.9.0.1")
GATEWAY = Address.parse("10.0.0.253")
OWN = Address.parse("10.0.0.254")
OTHER = Address.parse("203.0.113.1")
MANY = [Address.parse(f"10.1.{a}.{b}") for a in range(20) for b in range(200)]
THROUGH_GATEWAY = Route(ROUTE_UNICAST, 2, GATEWAY, OWN)


def host() -> FakeNetlink:
    """Return a host with two interfaces: 2 towards the servers, 3 elsewhere."""
    known = {
        VIP: Route(ROUTE_LOCAL, 1, None, VIP),
        SERVER: Route(ROUTE_UNICAST, 2, None, OWN),
        FAR: THROUGH_GATEWAY,
    }
    own = [OwnAddress(3, OTHER, 0, 24), OwnAddress(2, OWN, 0, 24), OwnAddress(2, Address.parse("fe80::1"), 253, 64)]
    return FakeNetlink(known, own)


def routes(*virtual: Address, netlink: FakeNetlink | None = None) -> Routes:
    """Return the routes of the host, with some addresses being virtual."""
    return Routes(netlink or host(), lambda address: address in virtual)  # type: ignore[arg-type]


def test_the_source_is_what_the_host_itself_would_use() -> None:
    """The preferred source of the route, unless it is a virtual address."""
    assert routes().source(SERVER) == OWN


def test_a_virtual_address_is_replaced_by_one_of_the_same_interface() -> None:
    """Replies to a virtual address would never find their way back to a local client."""
    netlink = host()
    second = Address.parse("10.0.0.252")
    netlink.own.append(OwnAddress(2, second, 0, 24))
    assert routes(OWN, netlink=netlink).source(SERVER) == second


def test_any_address_is_better_than_none() -> None:
    """Without another address on the interface, one of another interface is used; link-local ones never."""
    assert routes(OWN).source(SERVER) == OTHER
    assert routes(OWN, OTHER).source(SERVER) is None


def test_an_unreachable_server_has_no_source() -> None:
    """Without a route there is no source."""
    assert routes().source(Address.parse("198.51.100.1")) is None


def test_next_hops_are_probed_once_each() -> None:
    """A server on the link is asked for itself, one behind a router for the router, local ones not at all."""
    netlink = host()
    routes(netlink=netlink).probe([SERVER, FAR, FAR, VIP])
    assert sorted(netlink.probed) == sorted({(SERVER, 2), (GATEWAY, 2)})


def test_routes_are_remembered_until_something_changes() -> None:
    """The kernel is asked once, and again after `forget`."""
    netlink = host()
    known = routes(netlink=netlink)
    assert known.source(SERVER) == OWN
    netlink.known[SERVER] = Route(ROUTE_UNICAST, 3, None, OTHER)
    assert known.source(SERVER) == OWN
    known.forget()
    assert known.source(SERVER) == OTHER


def test_many_servers_in_one_region_are_one_question() -> None:
    """Those of another region, and those with several next hops, are asked for as well."""
    netlink = host()
    netlink.tables = {net("10.1.0.0", 16), net("10.1.3.0", 24)}
    netlink.known.update(dict.fromkeys(MANY, THROUGH_GATEWAY))
    assert set(routes(netlink=netlink).sources(MANY).values()) == {OWN}
    assert len(netlink.asked) == 2
    netlink.asked.clear()
    netlink.several = {address for address in MANY if address.startswith(Address.parse("10.1.3.0")[:15])}
    assert set(routes(netlink=netlink).sources(MANY).values()) == {OWN}
    assert set(netlink.asked) >= netlink.several
    assert len(netlink.asked) == len(netlink.several) + 1


def test_more_prefixes_than_servers_are_not_worth_reading() -> None:
    """Then each server is asked for by itself."""
    netlink = host()
    netlink.tables = {net(str(address), 32) for address in MANY}
    routes(netlink=netlink).sources(MANY[: FEW + 1])
    assert netlink.asked == MANY[: FEW + 1]


def test_a_server_that_comes_later_is_in_its_region() -> None:
    """No question is asked twice, and none at all for a server in a region that is known."""
    netlink = host()
    netlink.tables = {net("10.1.0.0", 16)}
    netlink.known.update(dict.fromkeys(MANY, THROUGH_GATEWAY))
    known = routes(netlink=netlink)
    known.sources(MANY)
    netlink.asked.clear()
    assert known.source(Address.parse("10.1.99.99")) == OWN
    assert netlink.asked == []


def test_tending_goes_through_all_servers_on_the_link_in_turn() -> None:
    """A thousand at a time, each once in a round, and the routers every time."""
    netlink = host()
    netlink.known |= {address: Route(ROUTE_UNICAST, 2, None, OWN) for address in MANY}
    known = routes(netlink=netlink)
    known.source(FAR)
    seen: list[Address] = []
    for _ in range(len(MANY) // PROBES):
        netlink.probed.clear()
        known.tend(lambda: MANY)
        hops = {hop for hop, _ in netlink.probed}
        assert len(netlink.probed) == PROBES + 1
        assert GATEWAY in hops
        seen += hops - {GATEWAY}
    assert sorted(seen) == sorted(MANY)


def net(text: str, length: int) -> Prefix:
    """Return an IPv4 prefix as the regions have it."""
    return prefix(int.from_bytes(Address.parse(text)), 96 + length)


numbers = st.one_of(
    st.integers(0, (1 << BITS) - 1), st.integers(0, 300), st.integers((1 << BITS) - 300, (1 << BITS) - 1)
)
prefixes = st.builds(prefix, numbers, st.integers(0, BITS))


@given(st.lists(prefixes, max_size=20), st.lists(numbers, min_size=2, max_size=20))
def test_addresses_share_a_region_when_they_share_all_prefixes(drawn: list[Prefix], asked: list[int]) -> None:
    """Whatever the prefixes are, and at their very ends."""
    ends = [end for start, length in drawn for end in (start, start + (1 << BITS - length) - 1)]
    regions = Regions(drawn)
    addresses = asked + ends
    found = regions.of([Address(number.to_bytes(16)) for number in addresses]).tolist()
    inside = [{one for one in drawn if prefix(number, one[1]) == one} for number in addresses]
    members: dict[int, set[Prefix]] = {}
    for region, within, number in zip(found, inside, addresses, strict=True):
        assert members.setdefault(region, within) == within
        assert not regions.single[region] or found.count(region) == addresses.count(number)


@given(st.lists(st.tuples(numbers, st.integers(0, BITS)), max_size=6), numbers, numbers)
def test_sources_compare_alike_within_a_region(drawn: list[tuple[int, int]], one: int, two: int) -> None:
    """RFC 6724 section 5 rule 8: which source shares more of the destination is the same for all of a region."""
    own = [(Address(number.to_bytes(16)), length) for number, length in drawn]
    own = [(address, length) for address, length in own if address.version == 6]

    def order(destination: int) -> list[list[bool]]:
        shared = [min(length, BITS - (int.from_bytes(a) ^ destination).bit_length()) for a, length in own]
        return [[mine > other for other in shared] for mine in shared]

    regions = Regions(source_prefixes(own))
    first, second = regions.of([Address(number.to_bytes(16)) for number in (one, two)]).tolist()
    assert first != second or order(one) == order(two)
