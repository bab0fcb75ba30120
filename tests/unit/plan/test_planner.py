"""Plans: what is written, in which order, and what a packet sees in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.plan.fake import FakeMaps, Shown
from xlvs.dataplane import _abi as abi
from xlvs.errors import InvalidError, XlvsError
from xlvs.model import Address, Server, Service, ServiceKey
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.planner import Plan, Wants, plan
from xlvs.plan.upkeep import plan_addresses, plan_garbage, plan_sources

VIP = Address.parse("192.0.2.1")
WEB = ServiceKey("tcp", VIP, 80)
DNS = ServiceKey("udp", VIP, 53)
OWN = Address.parse("10.0.0.254")


def server(host: int, weight: int = 1, forward: str = "nat", port: int = 80) -> Server:
    """Return the real server 10.0.0.*host*."""
    return Server(Address.parse(f"10.0.0.{host}"), port, forward, weight)


def web(*servers: Server, scheduler: str = "wlc") -> Service:
    """Return the web service with these servers, oldest first."""
    return Service(WEB, scheduler, servers=servers)


class Director:
    """A fake of the maps, and the layout that is kept in step with it."""

    def __init__(self, maps: FakeMaps | None = None) -> None:
        self.maps = maps or FakeMaps()
        self.maps.settle()
        self.layout = self.maps.layout()
        self.sources: dict[Address, Address | None] = {}
        self.made: list[w.Write] = []

    def plan(self, wants: Wants) -> Plan:
        """Plan a change."""
        return plan(self.layout, wants, self.sources, self.maps.now + 1)

    def make(self, writes: list[w.Write]) -> None:
        """Make writes, checking the maps after each one."""
        for write in writes:
            self.maps.write(write)
            self.maps.check()
        self.made += writes

    def change(self, wants: Wants) -> list[w.Write]:
        """Put a change in force; what packets find changes at the last write of its commit, and all at once."""
        self.made = []
        before = self.maps.in_force()
        plan = self.plan(wants)
        self.make(plan.prepare)
        commit = plan.commit(self.maps.sched_state)
        self.make(commit[:-1])
        assert self.maps.in_force() == before
        self.make(commit[-1:])
        after = self.maps.in_force()
        for key, want in wants.items():
            assert after.get(key) == (want and (want.scheduler, shown(want)))
        self.layout.accept(plan.change)
        self.make(plan.tidy)
        assert self.maps.in_force() == after
        self.compare()
        return self.made

    def compare(self) -> None:
        """Assert that the layout kept is the layout that is there."""
        read = self.maps.layout()
        for name in ("services", "addresses", "nat_servers", "retired"):
            assert getattr(self.layout, name) == getattr(read, name), name
        assert (self.layout.rows == read.rows).all()

    def put(self, service: Service) -> list[w.Write]:
        """Put a service in force."""
        return self.change({service.key: service})

    def delete(self, key: ServiceKey) -> list[w.Write]:
        """Delete a service."""
        return self.change({key: None})

    def collect(self) -> None:
        """Collect garbage, as the daemon does from time to time."""
        busy = {number for number, flows in self.maps.flows.items() if flows}
        writes, servers = plan_garbage(self.layout, busy)
        self.make(writes)
        self.layout.forget(servers)
        self.make(plan_addresses(self.layout, busy))
        self.compare()

    def number(self, host: int, key: ServiceKey = WEB) -> int:
        """Return the number of the real server 10.0.0.*host*:80."""
        found = self.layout.number(key, Address.parse(f"10.0.0.{host}"), 80)
        assert found is not None
        return found


def shown(service: Service) -> list[Shown]:
    """Return what packets shall find."""
    return [Shown(str(s.address), s.port, s.forward, s.weight) for s in reversed(service.servers)]


@pytest.fixture
def director() -> Director:
    """An empty director."""
    return Director()


def maps_of(writes: Sequence[w.Write]) -> list[str]:
    """Return the names of the maps that writes change, in order."""
    return ["epoch" if isinstance(write, w.Turn) else getattr(write, "name", "tables") for write in writes]


def test_a_change_is_prepared_before_it_is_in_force(director: Director) -> None:
    """Addresses, servers, slots, value and scheduler state are there before the epoch that leads to them."""
    writes = maps_of(director.put(web(server(1), server(2))))
    assert writes == ["addrs", "servers", "slots", "services", "sched_state", "epoch", "nat_servers", "services"]


def test_the_newest_server_comes_first(director: Director) -> None:
    """Servers are walked newest first, and one that is added again is the newest."""
    director.put(web(server(1), server(2), server(3)))
    assert [one.address for one in director.maps.shown(WEB)] == ["10.0.0.3", "10.0.0.2", "10.0.0.1"]
    director.put(web(server(2), server(3)))
    director.put(web(server(2), server(3), server(1)))
    assert [one.address for one in director.maps.shown(WEB)] == ["10.0.0.1", "10.0.0.3", "10.0.0.2"]


def test_the_same_again_writes_nothing(director: Director) -> None:
    """A service that is in force already needs no write."""
    director.put(web(server(1), scheduler="mh"))
    assert not director.plan({WEB: web(server(1), scheduler="mh")})


def test_one_change_writes_the_same_among_many_services(director: Director) -> None:
    """The plan for one service does not depend on how many others there are."""
    alone = maps_of(director.put(web(server(1))))
    for port in range(81, 121):
        director.put(Service(ServiceKey("tcp", VIP, port), servers=(server(9, port=port),)))
    other = ServiceKey("tcp", Address.parse("192.0.2.2"), 80)
    assert maps_of(director.put(Service(other, servers=(server(2),)))) == alone


def test_a_server_keeps_its_number_while_it_has_flows(director: Director) -> None:
    """Deleted with flows and added again, a server is the same number with the same flows."""
    director.put(web(server(1), server(2)))
    number = director.number(1)
    director.maps.flows[number] = 3
    director.put(web(server(2)))
    assert not director.maps.lives(number)
    director.collect()
    director.put(web(server(2), server(1)))
    assert director.number(1) == number
    assert director.maps.lives(number)


def test_a_number_without_flows_is_given_back(director: Director) -> None:
    """A deleted server whose flows are gone leaves nothing behind."""
    director.put(web(server(1), server(2)))
    number = director.number(1)
    director.put(web(server(2)))
    director.collect()
    assert number not in director.maps.numbers()
    assert Address.parse("10.0.0.1") not in director.maps.addresses()


def test_a_deleted_service_keeps_its_flows(director: Director) -> None:
    """The servers of a deleted service stay live, and its address watched, until their flows are gone."""
    director.put(web(server(1)))
    number = director.number(1)
    director.maps.flows[number] = 1
    director.delete(WEB)
    director.collect()
    assert director.maps.lives(number)
    assert director.maps.addresses()[VIP] == r.VIP
    director.maps.flows[number] = 0
    director.collect()
    assert director.maps.numbers() == []
    assert director.maps.addresses() == {}
    assert director.maps.nat_servers() == {}


def test_a_service_that_comes_back_has_its_old_id(director: Director) -> None:
    """While flows of a deleted service are left its id is not given to another one."""
    director.put(web(server(1)))
    first = director.layout.services[WEB].id
    director.maps.flows[director.number(1)] = 1
    director.delete(WEB)
    director.put(Service(DNS))
    assert director.layout.services[DNS].id != first
    director.put(web())
    assert director.layout.services[WEB].id == first


def test_a_vip_stays_as_long_as_one_service_has_it(director: Director) -> None:
    """An address of two services is forgotten only with the second."""
    director.put(web())
    director.put(Service(DNS))
    director.delete(WEB)
    director.collect()
    assert VIP in director.maps.addresses()
    director.delete(DNS)
    director.collect()
    assert VIP not in director.maps.addresses()


def test_the_directors_own_address_is_watched_for_route_and_ipip(director: Director) -> None:
    """Replies to local clients of route and ipip servers come to the director's own address."""
    director.sources[Address.parse("10.0.0.1")] = OWN
    director.put(web(server(1, forward="ipip")))
    assert director.maps.addresses()[OWN] == r.DIRECTOR
    assert bytes(director.layout.rows["src"][director.number(1)]) == OWN


def test_flows_keep_the_address_of_their_old_forwarding_method(director: Director) -> None:
    """A server that was nat is watched for replies until the flows it had then are gone."""
    address = Address.parse("10.0.0.1")
    director.put(web(server(1)))
    director.maps.flows[director.number(1)] = 1
    director.put(web(server(1, forward="route")))
    director.collect()
    assert director.maps.addresses()[address] & r.SERVER
    director.maps.flows.clear()
    director.collect()
    assert address not in director.maps.addresses()


def test_replies_without_a_flow_find_another_service_of_the_same_server(director: Director) -> None:
    """A nat server of two services stays known when one of them drops it."""
    other = ServiceKey("tcp", VIP, 8080)
    key = ("10.0.0.1", 80)
    director.put(web(server(1)))
    director.put(Service(other, servers=(server(1),)))
    director.put(web())
    assert director.maps.nat_servers()[key] == director.number(1, other)
    director.put(Service(other))
    assert director.maps.nat_servers() == {}


def test_round_robin_goes_on_where_it_was(director: Director) -> None:
    """The place of the last choice moves with its server when another one is added."""
    director.put(web(server(1), server(2), scheduler="rr"))
    director.maps.set_state(director.layout.services[WEB].index, 0)
    director.put(web(server(1), server(2), server(3), scheduler="rr"))
    assert director.maps.sched_state(director.layout.services[WEB].index)[0] == 1


def test_a_ring_comes_and_goes_with_the_servers_that_need_it(director: Director) -> None:
    """Beside a ring the state has the index of the last choice; its meaning outlives the ring."""
    many = [server(host, 0 if host % 2 else 1) for host in range(1, 21)]

    def state() -> tuple[int, int]:
        return director.maps.sched_state(director.layout.services[WEB].index)

    director.put(web(*many, scheduler="rr"))
    placed = director.layout.services[WEB]
    assert director.maps.tables == {placed.index: list(range(0, 20, 2))}
    assert (placed.table_size, state()) == (10, (0xFFFFFFFF, -1))
    director.maps.set_state(placed.index, 4, 2)
    director.put(web(*many, server(21), scheduler="rr"))
    assert state() == (5, 3)
    director.put(web(*many[:16], scheduler="rr"))
    assert state() == (0, 0)
    assert (director.maps.tables, director.layout.services[WEB].table_size) == ({}, 0)
    director.put(web(*many, scheduler="rr"))
    assert state() == (4, 2)


def test_another_scheduler_starts_afresh(director: Director) -> None:
    """The state of one scheduler means nothing to the next."""
    director.put(web(server(1, 4), server(2, 2), scheduler="rr"))
    director.maps.set_state(director.layout.services[WEB].index, 1)
    director.put(web(server(1, 4), server(2, 2), scheduler="wrr"))
    assert director.maps.sched_state(director.layout.services[WEB].index) == (0xFFFFFFFF, 3)


def test_a_drained_server_keeps_its_entries_of_the_maglev_table(director: Director) -> None:
    """With weight 0 a server holds what its last weight claimed, so other servers' clients do not move."""
    director.put(web(server(1, 3), server(2, 1), scheduler="mh"))
    before = director.maps.tables[director.layout.services[WEB].index]
    director.put(web(server(1, 0), server(2, 1), scheduler="mh"))
    after = director.maps.tables[director.layout.services[WEB].index]
    assert [choice & ~abi.DRAINED for choice in after] == before
    assert {choice & (abi.RUN - 1) for choice in after if choice & abi.DRAINED} == {director.number(1)}


def test_the_old_table_goes_after_the_new_one_is_in_force(director: Director) -> None:
    """A table is dropped only when no service refers to it, and then it is."""
    director.put(web(server(1), scheduler="sh"))
    writes = maps_of(director.put(web(server(1), server(2), scheduler="sh")))
    assert writes.index("tables") < writes.index("epoch") < len(writes) - 1 - writes[::-1].index("tables")
    director.put(web(server(1), server(2), scheduler="rr"))
    assert director.maps.tables == {}


def test_too_many_servers_are_refused(director: Director) -> None:
    """A service has 1024 real servers at most."""
    many = tuple(server(1, port=port) for port in range(1, 1026))
    with pytest.raises(InvalidError, match="more than 1024"):
        director.plan({WEB: web(*many)})


@pytest.mark.parametrize("maps", [FakeMaps(services=1), FakeMaps(servers=2), FakeMaps(blocks=1)])
def test_a_full_map_is_a_sentence(maps: FakeMaps) -> None:
    """What does not fit any more is refused, whichever map is full, and nothing is written."""
    director = Director(maps)
    director.put(web(server(1), server(2)))
    with pytest.raises(XlvsError, match="no room for more"):
        director.plan({DNS: Service(DNS, servers=(server(3),))})
    director.compare()


SERVERS = st.lists(
    st.builds(server, st.integers(1, 20), st.integers(0, 3), st.sampled_from(["nat", "route", "ipip"])),
    max_size=20,
    unique_by=lambda s: s.key,
)
KEYS = [ServiceKey(protocol, VIP, port) for protocol in ("tcp", "udp") for port in (80, 81)]
SERVICES = st.builds(
    Service,
    st.sampled_from(KEYS),
    st.sampled_from(["rr", "wrr", "wlc", "sh"]),
    servers=SERVERS.map(tuple),
)
FLOWS = st.dictionaries(st.integers(0, 40), st.integers(0, 1))
CHANGES = st.lists(SERVICES, max_size=4).flatmap(
    lambda services: st.dictionaries(st.sampled_from(KEYS), st.none(), max_size=2).map(
        lambda gone: {**gone, **{service.key: service for service in services}}
    )
)


@settings(max_examples=60)
@given(st.lists(st.one_of(CHANGES, FLOWS, st.none()), max_size=10))
def test_any_sequence_of_changes_leaves_the_maps_whole(steps: list[dict[Any, Any] | None]) -> None:
    """After every single write of any changes, what a service points at is whole; and a reader finds what we kept."""
    director = Director()
    for step in steps:
        if step is None:
            director.change(dict.fromkeys(director.layout.services))
        elif all(isinstance(key, int) for key in step):
            known = director.maps.numbers()
            director.maps.flows = {n: flows for n, flows in step.items() if n in known}
        else:
            director.sources = {s.address: OWN for want in step.values() if want for s in want.servers}
            director.change(step)
        director.collect()


@settings(max_examples=80)
@given(CHANGES, CHANGES, st.integers(0, 20))
def test_a_crash_between_two_writes_leaves_all_of_it_or_nothing(old: Wants, new: Wants, survived: int) -> None:
    """Cut off anywhere, a change of many services is in force or is not; the next start says which, and can go on."""
    director = Director()
    director.change(old)
    before = director.maps.in_force()
    plan = director.plan(new)
    writes = [*plan.prepare, *plan.commit(director.maps.sched_state), *plan.tidy]
    for write in writes[:survived]:
        director.maps.write(write)
    left = director.maps.in_force()
    after = {key: value for key, value in before.items() if key not in new}
    after |= {key: (want.scheduler, shown(want)) for key, want in new.items() if want}
    turned = any(isinstance(write, w.Turn) for write in writes[:survived])
    assert left == (after if turned else before)
    outcome = director.maps.settle()
    assert outcome in ("", "completed" if turned else "undone")
    assert director.maps.in_force() == left
    assert not any(value["turn"] for value in director.maps.items("services")[1])
    again = Director(director.maps)
    again.change(new)
    again.collect()
    assert again.maps.in_force() == after


@settings(max_examples=60)
@given(CHANGES, CHANGES, st.integers(0, 20))
def test_what_was_prepared_can_be_taken_back(old: Wants, new: Wants, made: int) -> None:
    """A change that the kernel refuses halfway is undone without a trace that packets or the next change could see."""
    director = Director()
    director.change(old)
    before = director.maps.in_force()
    plan = director.plan(new)
    for write in [*plan.prepare[:made], *plan.undo]:
        director.maps.write(write)
        director.maps.check()
        assert director.maps.in_force() == before
    director.change(new)


def test_a_server_that_goes_keeps_its_flows_until_the_change_is_in_force(director: Director) -> None:
    """Deleting a server, and taking it back, happens at the epoch and not before."""
    director.put(web(server(1), server(2)))
    number = director.number(1)
    for servers, lives in (((server(2),), False), ((server(2), server(1)), True)):
        plan = director.plan({WEB: web(*servers)})
        for write in [*plan.prepare, *plan.commit(director.maps.sched_state)]:
            assert director.maps.lives(number) is not lives
            director.maps.write(write)
        assert director.maps.lives(number) is lives
        director.layout.accept(plan.change)
        director.make(plan.tidy)
        assert director.maps.lives(number) is lives
        director.compare()


def test_new_routes_change_the_rows_in_place(director: Director) -> None:
    """Another own address towards a server is written without a change of any service."""
    director.put(web(server(1, forward="ipip"), server(2)))
    writes = plan_sources(director.layout, {Address.parse("10.0.0.1"): OWN})
    director.make(writes)
    assert maps_of(writes) == ["addrs", "servers"]
    assert bytes(director.layout.rows["src"][director.number(1)]) == OWN
    director.compare()


def test_adopted_maps_are_extended_not_overwritten(director: Director) -> None:
    """A layout read back knows which ids, numbers and blocks are taken."""
    director.put(web(server(1), server(2)))
    director.put(Service(DNS, servers=(server(3, port=53),)))
    adopted = Director(director.maps)
    adopted.put(Service(ServiceKey("tcp", VIP, 443), servers=(server(4, port=443),)))
    assert len({placed.id for placed in adopted.layout.services.values()}) == 3
    assert len(adopted.maps.shown(WEB)) == 2


def test_a_server_that_does_not_change_is_not_written(director: Director) -> None:
    """Of a service that changes, only the servers' rows that differ are put."""
    director.put(web(server(1), server(2)))
    plan = director.plan({WEB: web(server(1), server(2, 5), server(3))})
    written = [write.keys.tolist() for write in plan.prepare if isinstance(write, w.Put) and write.name == "servers"]
    assert written == [[2]]
