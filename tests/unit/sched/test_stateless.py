"""The choice without memory: weighted rendezvous hashing."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from tests.captures import later
from tests.unit.sched.service import CLIENT, slots
from xlvs.sched import stateless

CLIENTS = [(later(CLIENT, i), 1024 + i % 7) for i in range(4000)]


def test_shares_follow_the_weights() -> None:
    """Each server gets its share of the clients, within what chance allows."""
    weights = (1, 2, 3, 10)
    counts = Counter(stateless.choose(slots(*weights), client, port) for client, port in CLIENTS)
    for number, weight in enumerate(weights, 1):
        share = weight / sum(weights)
        assert abs(counts[number] / len(CLIENTS) - share) < 4 * math.sqrt(share * (1 - share) / len(CLIENTS)) + 0.01


def test_a_server_that_goes_moves_only_its_own_clients() -> None:
    """Everybody else stays where they were."""
    before, after = slots(1, 2, 3), slots(1, 2, 3)[1:]
    for client, port in CLIENTS[:500]:
        chosen = stateless.choose(before, client, port)
        assert chosen == 1 or chosen == stateless.choose(after, client, port)


def test_the_order_of_servers_does_not_matter() -> None:
    """Two directors that added them in another order agree."""
    for client, port in CLIENTS[:500]:
        assert stateless.choose(slots(1, 2, 3), client, port) == stateless.choose(slots(1, 2, 3)[::-1], client, port)


@pytest.mark.parametrize("weights", [(), (0,), (0, 0)])
def test_refuses_when_no_server_has_a_weight(weights: tuple[int, ...]) -> None:
    """With nobody to take it the flow is refused."""
    assert stateless.choose(slots(*weights), CLIENT, 1024) is None
