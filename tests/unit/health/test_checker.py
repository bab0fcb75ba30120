"""The checker: what servers answer becomes what is put in force, events, and what is kept on disk."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from xlvs.health.checker import Checker, Event, questions
from xlvs.health.verdict import Verdict
from xlvs.model import Address, Health, Server, Service, ServiceKey

CHECK = {"type": "tcp", "rise": 1, "fall": 1}


def service(port: int = 80, **health: Any) -> Service:
    """Return a service of two servers."""
    servers = tuple(Server(Address.parse(f"10.0.0.{n}"), 8080) for n in (1, 2))
    checks = health.pop("checks", (CHECK,))
    return Service(
        ServiceKey("tcp", Address.parse("192.0.2.1"), port), servers=servers, health=Health(checks, **health)
    )


class Watched:
    """A checker without a prober: answers are given by `say`; it notes whatever it is told."""

    def __init__(self, *services: Service) -> None:
        self.now = 1000.0
        self.changed: list[set[ServiceKey]] = []
        self.events: list[Event] = []
        self.checker = Checker(self.changed.append, lambda event, *_: self.events.append(event), lambda: self.now)
        self.services = services
        self.want()

    def want(self) -> None:
        """Want the services."""
        self.checker.want({one.key: one for one in self.services})

    def say(self, number: int, why: str = "", weight: int | None = None) -> None:
        """Let server *number* of the first service answer all its checks."""
        one = self.services[0]
        for asked, _ in questions(one, one.servers[number - 1]):
            self.checker._told(asked, why, weight)

    def up(self, which: int = 0) -> list[str]:
        """Return the addresses in force of a service."""
        return [str(s.address) for s in self.checker.judge(self.services[which]).servers]


def test_a_failure_takes_a_server_out_and_tells_once() -> None:
    """An answer that changes nothing tells nobody."""
    watched = Watched(service())
    assert watched.up() == ["10.0.0.1", "10.0.0.2"]
    for number in (1, 2, 1, 2):
        watched.say(number)
    assert len(watched.changed) == 2
    watched.say(1, "refused")
    watched.say(1, "refused")
    assert watched.up() == ["10.0.0.2"]
    assert [(event.server, event.state, event.why) for event in watched.events] == [
        ("10.0.0.1:8080", "up", ""),
        ("10.0.0.2:8080", "up", ""),
        ("10.0.0.1:8080", "down", "refused"),
    ]
    assert len(watched.changed) == 3


def test_services_share_a_question() -> None:
    """One answer changes both; another check of the same server is another question."""
    other = replace(service(81), health=Health(({"type": "tcp", "rise": 2, "fall": 1},)))
    watched = Watched(service(), service(82), other)
    assert len(watched.checker._checks) == 4
    watched.say(1, "refused")
    assert [watched.up(n) for n in range(3)] == [["10.0.0.2"], ["10.0.0.2"], ["10.0.0.1", "10.0.0.2"]]
    assert watched.changed == [{watched.services[0].key, watched.services[1].key}]


def test_the_quorum_is_told_when_it_is_lost_and_gained() -> None:
    """In the order in which it happens."""
    watched = Watched(service(quorum=2))
    for number, why in ((1, ""), (2, ""), (1, "refused"), (1, "")):
        watched.say(number, why)
    assert [event.state for event in watched.events] == ["up", "up", "down", "quorum down", "up", "quorum up"]


def test_verdicts_outlive_the_checker() -> None:
    """What was down is down before it is asked; what is asked no more is forgotten."""
    before = Watched(service())
    before.say(1, "refused")
    before.say(2)
    after = Watched()
    after.services = (service(),)
    after.checker.recall(before.checker.remembered())
    assert after.up() == ["10.0.0.2"]
    after.want()
    assert after.up() == ["10.0.0.2"]
    after.services = (service(checks=({"type": "http"},)),)
    after.want()
    assert after.checker.remembered() == []


def test_time_lets_weights_grow() -> None:
    """Only while it does is there anything to put in force."""
    watched = Watched(service(slow_start=10))
    watched.services = tuple(
        replace(one, servers=tuple(replace(s, weight=100) for s in one.servers)) for one in watched.services
    )
    watched.want()
    watched.say(1)
    seen = []
    for _ in range(14):
        watched.checker.tick(lambda service, server: 0)
        seen.append(watched.checker.judge(watched.services[0]).servers[0].weight)
        watched.now += 1
    assert seen == sorted(seen)
    assert seen[-1] == 100
    told = len(watched.changed)
    watched.checker.tick(lambda service, server: 0)
    assert len(watched.changed) == told


def test_states_say_what_is_known() -> None:
    """Of each server: state, weight, since when, why, and what is asked."""
    watched = Watched(service())
    watched.say(1, "refused")
    first, second = watched.checker.states()
    assert (first.server, first.state, first.weight, first.since, first.why) == (
        "10.0.0.1:8080", "down", 0, 1000.0, "refused",
    )  # fmt: skip
    assert (second.state, second.weight, second.checks) == ("unknown", 1, ["tcp"])


def test_a_verdict_is_json() -> None:
    """As it is kept on disk."""
    import msgspec

    from xlvs.health.prober import Question

    kept = [(Question(b"{}", "10.0.0.1", 80), Verdict(True, 0, 1.5, "", 3))]
    text = msgspec.json.encode(kept)
    assert msgspec.json.decode(text, type=list[tuple[Question, Verdict]]) == kept


def test_a_drained_server_takes_nothing_new_and_is_told_when_it_is_empty() -> None:
    """Whatever its checks say, and in a service without checks; until it is taken back."""
    plain = replace(service(), health=None)
    watched = Watched(plain)
    left = 2
    watched.checker.drain(plain, plain.servers[0].key, on=True)
    watched.checker.drain(plain, plain.servers[0].key, on=True)
    for left in (2, 1, 0, 0):
        watched.checker.tick(lambda one, server: left)  # noqa: B023
    assert [s.weight for s in watched.checker.judge(plain).servers] == [0, 1]
    assert [state.state for state in watched.checker.states()] == ["drained", "unchecked"]
    watched.want()
    assert watched.checker.states()[0].state == "drained"
    watched.checker.drain(plain, plain.servers[0].key, on=False)
    assert watched.checker.judge(plain) is plain
    assert [event.state for event in watched.events] == ["draining", "drained", "in service"]
    assert watched.changed == [{plain.key}, {plain.key}]


def test_a_drain_ends_with_the_server() -> None:
    """Deleted and added again it is in service."""
    plain = replace(service(), health=None)
    watched = Watched(plain)
    watched.checker.drain(plain, plain.servers[0].key, on=True)
    watched.services = (replace(plain, servers=plain.servers[1:]),)
    watched.want()
    watched.services = (plain,)
    watched.want()
    assert watched.checker.judge(plain) is plain
