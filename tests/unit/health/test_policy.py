"""What is put in force of a service, by the verdicts on its servers."""

from __future__ import annotations

import pytest

from xlvs.health.policy import View, effective, has_quorum
from xlvs.health.verdict import Verdict
from xlvs.model import Address, Health, Server, ServerHealth, Service, ServiceKey

UP, DOWN, NEW = Verdict(True), Verdict(False), Verdict()
KEY = ServiceKey("tcp", Address.parse("192.0.2.1"), 80)
SORRY = Server(Address.parse("10.0.0.99"), 80)


def servers(*weights: int) -> tuple[Server, ...]:
    """Return servers of these weights."""
    return tuple(Server(Address.parse(f"10.0.0.{n}"), 80, weight=w) for n, w in enumerate(weights, 1))


def weights(service: Service, *verdicts: Verdict, now: float = 0.0, quorum: bool = True) -> dict[int, int]:
    """Return the weights in force, by the last byte of the address."""
    view = View({s.key: v for s, v in zip(service.servers, verdicts, strict=True)}, quorum)
    return {s.address[15]: s.weight for s in effective(service, view, now).servers}


def test_a_service_without_checks_stays_the_same() -> None:
    """The very value, so that nothing is planned anew."""
    service = Service(KEY, servers=servers(1, 2))
    assert effective(service, View({}), 0.0) is service


def test_what_is_down_is_taken_out_or_gets_no_weight() -> None:
    """As inhibit says, of the service or of the server itself."""
    service = Service(KEY, servers=servers(1, 2, 3), health=Health())
    assert weights(service, UP, DOWN, UP) == {1: 1, 3: 3}
    service = Service(KEY, servers=servers(1, 2, 3), health=Health(inhibit=True))
    assert weights(service, UP, DOWN, UP) == {1: 1, 2: 0, 3: 3}
    own = Server(Address.parse("10.0.0.1"), 80, health=ServerHealth(inhibit=True))
    service = Service(KEY, servers=(own, *servers(1, 2)[1:]), health=Health())
    assert weights(service, DOWN, DOWN) == {1: 0}


@pytest.mark.parametrize(("alpha", "there"), [(False, {1: 1}), (True, {})])
def test_what_is_not_known_yet(alpha: bool, there: dict[int, int]) -> None:
    """Up, unless alpha."""
    assert weights(Service(KEY, servers=servers(1), health=Health(alpha=alpha)), NEW) == there


def test_a_server_may_ask_for_a_weight() -> None:
    """Instead of the configured one."""
    service = Service(KEY, servers=servers(5, 5), health=Health())
    assert weights(service, UP._replace(weight=9), UP._replace(weight=0)) == {1: 9, 2: 0}


def test_below_the_quorum_the_sorry_server_stands_alone() -> None:
    """Without one, what is up goes on."""
    service = Service(KEY, servers=servers(1, 1, 1), health=Health(quorum=2), sorry_server=SORRY)
    assert weights(service, UP, UP, DOWN) == {1: 1, 2: 1}
    assert weights(service, UP, DOWN, DOWN) == {99: 1}
    without = Service(KEY, servers=servers(1, 1, 1), health=Health(quorum=2))
    assert weights(without, UP, DOWN, DOWN) == {1: 1}


def test_the_last_server_that_dies_brings_the_sorry_server() -> None:
    """The quorum is one if nothing is said."""
    service = Service(KEY, servers=servers(1), health=Health(), sorry_server=SORRY)
    assert weights(service, DOWN) == {99: 1}


def test_hysteresis() -> None:
    """So much more to gain the quorum, so much less to lose it."""
    service = Service(KEY, servers=servers(1, 1, 1, 1, 1), health=Health(quorum=3, hysteresis=1))

    def quorum(up: int, before: bool) -> bool:
        verdicts = [UP] * up + [DOWN] * (5 - up)
        return has_quorum(
            service, View(dict(zip((s.key for s in service.servers), verdicts, strict=True)), before), 0.0
        )

    assert [quorum(n, True) for n in range(6)] == [False, False, True, True, True, True]
    assert [quorum(n, False) for n in range(6)] == [False, False, False, False, True, True]


def test_slow_start_grows_to_the_whole_weight() -> None:
    """In steps, from a small part that is not nothing; a server of weight 1 has it at once."""
    service = Service(KEY, servers=servers(100, 1), health=Health(slow_start=10))
    seen = [weights(service, UP._replace(since=100.0), UP._replace(since=100.0), now=100.0 + t) for t in range(12)]
    grown = [found[1] for found in seen]
    assert grown == sorted(grown)
    assert 1 <= grown[0] < 10
    assert grown[10:] == [100, 100]
    assert {found[2] for found in seen} == {1}


def test_a_drained_server_keeps_what_it_has() -> None:
    """Weight 0, up or down."""
    service = Service(KEY, servers=servers(1, 1), health=Health())
    view = View({s.key: UP for s in service.servers}, True, frozenset({service.servers[0].key}))
    assert [s.weight for s in effective(service, view, 0.0).servers] == [0, 1]
