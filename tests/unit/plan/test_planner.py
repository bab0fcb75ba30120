"""Plans: what is written, in which order, and what a packet sees in between."""

from __future__ import annotations

import dataclasses
import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plan.fake import FakeMaps
from xlvs.errors import InvalidError, XlvsError
from xlvs.model import Server, Service, ServiceKey
from xlvs.model.server import Address
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout
from xlvs.plan.planner import plan_addresses, plan_delete, plan_garbage, plan_service

VIP = ipaddress.ip_address("192.0.2.1")
WEB = ServiceKey("tcp", VIP, 80)
DNS = ServiceKey("udp", VIP, 53)
OWN = ipaddress.ip_address("10.0.0.254")


def server(host: int, weight: int = 1, forward: str = "nat", port: int = 80) -> Server:
    """Return the real server 10.0.0.*host*."""
    return Server(ipaddress.ip_address(f"10.0.0.{host}"), port, forward, weight)


def web(*servers: Server, scheduler: str = "wlc") -> Service:
    """Return the web service with these servers, oldest first."""
    return Service(WEB, scheduler, servers=servers)


class Director:
    """A fake of the maps, and the layout that is kept in step with it."""

    def __init__(self, maps: FakeMaps | None = None) -> None:
        self.maps = maps or FakeMaps()
        self.layout = self.maps.layout()
        self.sources: dict[Address, Address | None] = {}

    def make(self, writes: list[w.Write]) -> list[w.Write]:
        """Make the writes, checking the maps after each one and the layout at the end."""
        for write in writes:
            self.maps.write(write)
            self.layout.note(write)
            self.maps.check()
        self.compare()
        return writes

    def compare(self) -> None:
        """Assert that the layout kept is the layout that is there."""
        read = self.maps.layout()
        for name in ("services", "servers", "addresses", "nat_servers", "placed"):
            assert getattr(self.layout, name) == getattr(read, name), name

    def put(self, service: Service) -> list[w.Write]:
        """Put a service in force."""
        return self.make(plan_service(self.layout, service, self.sources, self.maps.sched_state))

    def delete(self, key: ServiceKey) -> list[w.Write]:
        """Delete a service."""
        return self.make(plan_delete(self.layout, key))

    def collect(self) -> list[w.Write]:
        """Collect garbage, as the daemon does from time to time."""
        busy = {number for number, flows in self.maps.flows.items() if flows}
        writes = self.make(plan_garbage(self.layout, busy))
        return [*writes, *self.make(plan_addresses(self.layout, busy))]

    def number(self, host: int, key: ServiceKey = WEB) -> int:
        """Return the number of the real server 10.0.0.*host*:80."""
        found = self.layout.number(key, ipaddress.ip_address(f"10.0.0.{host}"), 80)
        assert found is not None
        return found


@pytest.fixture
def director() -> Director:
    """An empty director."""
    return Director()


def kinds(writes: list[w.Write]) -> list[str]:
    """Return the names of the writes, in order."""
    return [type(write).__name__ for write in writes]


def test_a_service_takes_effect_by_its_last_put(director: Director) -> None:
    """Address, servers, slots and scheduler state are there before the service that leads to them."""
    writes = director.put(web(server(1), server(2)))
    assert kinds(writes)[-1] == "PutService"
    assert sorted(kinds(writes)[:-1]) == sorted(
        ["PutAddress"] * 3 + ["PutNatServer"] * 2 + ["PutServer"] * 2 + ["PutSlots", "PutSchedState"]
    )


def test_the_newest_server_comes_first(director: Director) -> None:
    """Servers are walked newest first, and one that is added again is the newest."""
    director.put(web(server(1), server(2), server(3)))
    assert [host for host, _, _ in director.maps.shown(WEB)] == ["10.0.0.3", "10.0.0.2", "10.0.0.1"]
    director.put(web(server(2), server(3)))
    director.put(web(server(2), server(3), server(1)))
    assert [host for host, _, _ in director.maps.shown(WEB)] == ["10.0.0.1", "10.0.0.3", "10.0.0.2"]


def test_the_same_again_writes_nothing(director: Director) -> None:
    """A service that is in force already needs no write."""
    director.put(web(server(1), scheduler="mh"))
    assert director.put(web(server(1), scheduler="mh")) == []


def test_one_change_writes_the_same_among_many_services(director: Director) -> None:
    """The plan for one service does not depend on how many others there are."""
    alone = kinds(director.put(web(server(1))))
    for port in range(81, 121):
        director.put(Service(ServiceKey("tcp", VIP, port), servers=(server(9, port=port),)))
    other = ServiceKey("tcp", ipaddress.ip_address("192.0.2.2"), 80)
    assert kinds(director.put(Service(other, servers=(server(2),)))) == alone


def test_a_server_keeps_its_number_while_it_has_flows(director: Director) -> None:
    """Deleted with flows and added again, a server is the same number with the same flows."""
    director.put(web(server(1), server(2)))
    number = director.number(1)
    director.maps.flows[number] = 3
    director.put(web(server(2)))
    assert not director.maps.servers[number].live
    director.collect()
    director.put(web(server(2), server(1)))
    assert director.number(1) == number
    assert director.maps.servers[number].live


def test_a_number_without_flows_is_given_back(director: Director) -> None:
    """A deleted server whose flows are gone leaves nothing behind."""
    director.put(web(server(1), server(2)))
    number = director.number(1)
    director.put(web(server(2)))
    director.collect()
    assert number not in director.maps.servers
    assert ipaddress.ip_address("10.0.0.1") not in director.maps.addresses


def test_a_deleted_service_keeps_its_flows(director: Director) -> None:
    """The servers of a deleted service stay live, and its address watched, until their flows are gone."""
    director.put(web(server(1)))
    number = director.number(1)
    director.maps.flows[number] = 1
    director.delete(WEB)
    director.collect()
    assert director.maps.servers[number].live
    assert director.maps.addresses[VIP] == w.ADDRESS_VIP
    director.maps.flows[number] = 0
    director.collect()
    assert director.maps.servers == {}
    assert director.maps.addresses == {}
    assert director.maps.nat_servers == {}


def test_a_service_that_comes_back_has_its_old_id(director: Director) -> None:
    """While flows of a deleted service are left its id is not given to another one."""
    director.put(web(server(1)))
    first = director.maps.services[WEB].id
    director.maps.flows[director.number(1)] = 1
    director.delete(WEB)
    director.put(Service(DNS))
    assert director.maps.services[DNS].id != first
    director.put(web())
    assert director.maps.services[WEB].id == first


def test_a_vip_stays_as_long_as_one_service_has_it(director: Director) -> None:
    """An address of two services is forgotten only with the second."""
    director.put(web())
    director.put(Service(DNS))
    director.delete(WEB)
    director.collect()
    assert VIP in director.maps.addresses
    director.delete(DNS)
    director.collect()
    assert VIP not in director.maps.addresses


def test_the_directors_own_address_is_watched_for_route_and_ipip(director: Director) -> None:
    """Replies to local clients of route and ipip servers come to the director's own address."""
    director.sources[ipaddress.ip_address("10.0.0.1")] = OWN
    director.put(web(server(1, forward="ipip")))
    assert director.maps.addresses[OWN] == w.ADDRESS_DIRECTOR
    assert director.maps.servers[director.number(1)].src == OWN


def test_flows_keep_the_address_of_their_old_forwarding_method(director: Director) -> None:
    """A server that was nat is watched for replies until the flows it had then are gone."""
    address = ipaddress.ip_address("10.0.0.1")
    director.put(web(server(1)))
    director.maps.flows[director.number(1)] = 1
    director.put(web(server(1, forward="route")))
    director.collect()
    assert director.maps.addresses[address] & w.ADDRESS_SERVER
    director.maps.flows.clear()
    director.collect()
    assert address not in director.maps.addresses


def test_replies_without_a_flow_find_another_service_of_the_same_server(director: Director) -> None:
    """A nat server of two services stays known when one of them drops it."""
    other = ServiceKey("tcp", VIP, 8080)
    key = (ipaddress.ip_address("10.0.0.1"), 80, "tcp")
    director.put(web(server(1)))
    director.put(Service(other, servers=(server(1),)))
    director.put(web())
    assert director.maps.nat_servers[key] == director.number(1, other)
    director.put(Service(other))
    assert director.maps.nat_servers == {}


def test_round_robin_goes_on_where_it_was(director: Director) -> None:
    """The place of the last choice moves with its server when another one is added."""
    director.put(web(server(1), server(2), scheduler="rr"))
    row = director.maps.services[WEB]
    director.maps.states[row.index] = (0, 0)
    director.put(web(server(1), server(2), server(3), scheduler="rr"))
    assert director.maps.states[director.maps.services[WEB].index][0] == 1


def test_another_scheduler_starts_afresh(director: Director) -> None:
    """The state of one scheduler means nothing to the next."""
    director.put(web(server(1, 4), server(2, 2), scheduler="rr"))
    director.maps.states[director.maps.services[WEB].index] = (1, 0)
    director.put(web(server(1, 4), server(2, 2), scheduler="wrr"))
    assert director.maps.states[director.maps.services[WEB].index] == (0xFFFFFFFF, 3)


def test_a_drained_server_keeps_its_entries_of_the_maglev_table(director: Director) -> None:
    """With weight 0 a server holds what its last weight claimed, so other servers' clients do not move."""
    director.put(web(server(1, 3), server(2, 1), scheduler="mh"))
    before = director.maps.tables[director.maps.services[WEB].index]
    director.put(web(server(1, 0), server(2, 1), scheduler="mh"))
    assert director.maps.tables[director.maps.services[WEB].index] == before


def test_the_old_table_goes_after_the_new_one_is_in_force(director: Director) -> None:
    """A table is dropped only when no service refers to it, and then it is."""
    director.put(web(server(1), scheduler="sh"))
    writes = kinds(director.put(web(server(1), server(2), scheduler="sh")))
    assert writes.index("DropTable") > writes.index("PutService")
    director.put(web(server(1), server(2), scheduler="rr"))
    assert director.maps.tables == {}


def test_too_many_servers_are_refused(director: Director) -> None:
    """A service has 1024 real servers at most."""
    many = tuple(server(1, port=port) for port in range(1, 1026))
    with pytest.raises(InvalidError, match="more than 1024"):
        plan_service(director.layout, web(*many), {}, director.maps.sched_state)


@pytest.mark.parametrize("maps", [FakeMaps(services=1), FakeMaps(servers=2), FakeMaps(blocks=1)])
def test_a_full_map_is_a_sentence(maps: FakeMaps) -> None:
    """What does not fit any more is refused, whichever map is full, and nothing is written."""
    director = Director(maps)
    director.put(web(server(1), server(2)))
    with pytest.raises(XlvsError, match="no room for more"):
        plan_service(director.layout, Service(DNS, servers=(server(3),)), {}, maps.sched_state)
    director.compare()


SERVERS = st.lists(
    st.builds(server, st.integers(1, 20), st.integers(0, 3), st.sampled_from(["nat", "route", "ipip"])),
    max_size=20,
    unique_by=lambda s: s.key,
)
SERVICES = st.builds(
    Service,
    st.builds(ServiceKey, st.sampled_from(["tcp", "udp"]), st.just(VIP), st.sampled_from([80, 81])),
    st.sampled_from(["rr", "wrr", "wlc", "sh"]),
    servers=SERVERS.map(tuple),
)
FLOWS = st.dictionaries(st.integers(0, 40), st.integers(0, 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(SERVICES, FLOWS, st.none()), max_size=12))
def test_any_sequence_of_changes_leaves_the_maps_whole(steps: list[Service | dict[int, int] | None]) -> None:
    """After every single write of any changes, what a service points at is whole; and a reader finds what we kept."""
    director = Director()
    for step in steps:
        if isinstance(step, Service):
            director.sources = {s.address: OWN for s in step.servers}
            director.put(step)
            assert len(director.maps.shown(step.key)) == len(step.servers)
        elif step is None:
            for key in list(director.layout.services):
                director.delete(key)
        else:
            director.maps.flows = {n: flows for n, flows in step.items() if n in director.maps.servers}
        director.collect()


@settings(max_examples=30, deadline=None)
@given(SERVICES, SERVICES, st.integers(0, 30))
def test_a_crash_between_two_writes_is_repaired(old: Service, new: Service, survived: int) -> None:
    """Cut off anywhere, the service is the old or the new one, and planning again makes it the new one."""
    new = dataclasses.replace(new, key=old.key)
    director = Director()
    director.put(old)
    before = director.maps.shown(old.key)
    for write in plan_service(director.layout, new, {}, director.maps.sched_state)[:survived]:
        director.maps.write(write)
    newest_first = [(str(s.address), s.port, s.weight) for s in reversed(new.servers)]
    assert director.maps.shown(old.key) in (before, newest_first)
    director = Director(director.maps)
    director.put(new)
    director.collect()
    assert director.maps.shown(old.key) == newest_first
    assert set(director.maps.addresses) == director.layout.used_addresses()


def test_adopted_maps_are_extended_not_overwritten(director: Director) -> None:
    """A layout read back knows which ids, numbers and blocks are taken."""
    director.put(web(server(1), server(2)))
    director.put(Service(DNS, servers=(server(3, port=53),)))
    adopted = Director(director.maps)
    assert isinstance(adopted.layout, Layout)
    adopted.put(Service(ServiceKey("tcp", VIP, 443), servers=(server(4, port=443),)))
    ids = [row.id for row in adopted.maps.services.values()]
    assert len(set(ids)) == 3
    assert len(adopted.maps.shown(WEB)) == 2
