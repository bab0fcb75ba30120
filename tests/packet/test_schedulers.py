"""The schedulers, packet by packet, through the real programs: against a real IPVS, and against their models."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest

from tests import captures
from tests.captures import later
from tests.packet import farm
from tests.packet.director import Director
from xlvs import sched
from xlvs.model import Address, Server, Service, ServiceKey
from xlvs.sched import stateless


@pytest.fixture(scope="module")
def roomy() -> Iterator[Director]:
    """A director with room for all connections, in the network of the farm."""
    with farm.lab() as director:
        yield director


@pytest.mark.parametrize("run", captures.runs(), ids=lambda run: run.name)
def test_programs_choose_what_ipvs_chose(roomy: Director, run: captures.Run, hook: str) -> None:
    """The same connections go to the same servers, and leave the same numbers of them active and inactive."""
    flags = frozenset(sched.flag(run.scheduler, word) for word in run.flags)
    service = Service(ServiceKey("tcp", *run.virtual), run.scheduler, flags)
    assert captures.replay(run, farm.Farm(roomy, service, hook, closes=run.mode == "closed")) == run.sequence


class Trial:
    """One service at once on the programs and on its model, with edits by chance."""

    def __init__(
        self,
        director: Director,
        scheduler: str,
        flags: frozenset[str],
        family: int,
        hook: str,
        weights: Sequence[int] = (0, 1, 2, 3, 10, 60000),
    ) -> None:
        self.chance = random.Random(f"{scheduler} {sorted(flags)} {family}")
        key = ServiceKey("tcp", Address.parse("192.0.2.1" if family == 4 else "2001:db8::1"), 80)
        self.farm = farm.Farm(director, Service(key, scheduler, flags), hook)
        self.model = sched.Model(scheduler, flags)
        self.servers: list[Server] = []
        self._last_weights: dict[Address, int] = {}
        self._fresh = farm.addresses(family)
        self._family = family
        self._weights = weights
        self._port = 1024

    def client(self) -> tuple[Address, int]:
        """Return a client nobody has seen."""
        self._port += 1
        bits = self.chance.getrandbits(16)
        first, by = ("198.51.0.0", bits) if self._family == 4 else ("2001:db8::", bits << 40)
        return later(Address.parse(first), by), self._port

    def edit(self, share: float = 0.9) -> None:
        """Delete all but a *share* of the servers, give some another weight, add some; tell both sides."""
        kept = [s for s in self.servers if self.chance.random() < share]
        kept = [s if self.chance.random() < 0.9 else self._server(s.address) for s in kept]
        added = [self._server(self._fresh.pop()) for _ in range(min(self.chance.randrange(20), len(self._fresh)))]
        for gone in {s.address for s in self.servers} - {s.address for s in kept}:
            del self._last_weights[gone]
        self.servers = kept + added
        for s in self.servers:
            if s.weight or s.address not in self._last_weights:
                self._last_weights[s.address] = s.weight
        self.farm.change(self.servers)
        numbers = self.farm.numbers()
        self.model.change(
            [
                sched.Entry(numbers[s.address], s.address, s.port, s.weight, self._last_weights[s.address])
                for s in reversed(self.servers)
            ]
        )

    def ask(self, client: Address, port: int) -> Address | None:
        """Return whom the model chooses."""
        numbers = self.farm.numbers()
        loads = {numbers[address]: 256 * active + inactive for address, (active, inactive) in self.farm.loads().items()}
        number = self.model.choose(sched.Ask(client, port, loads.__getitem__))
        return next((address for address, known in numbers.items() if known == number), None)

    def _server(self, address: Address) -> Server:
        return Server(address, 80, "nat", self.chance.choice(self._weights))


CASES = [(name, frozenset[str]()) for name in sched.names()] + [
    (name, frozenset(flags)) for name in ("sh", "mh") for flags in (["flag-1"], ["flag-2"], ["flag-1", "flag-2"])
]
IDS = ["+".join([name, *sorted(flags)]) for name, flags in CASES]


@pytest.mark.parametrize(("scheduler", "flags"), CASES, ids=IDS)
def test_programs_choose_what_the_model_chooses(
    roomy: Director, scheduler: str, flags: frozenset[str], family: int, hook: str
) -> None:
    """Many servers, over several blocks of slots, edited again and again: each choice is the model's."""
    trial = Trial(roomy, scheduler, flags, family, hook)
    for _ in range(8):
        trial.edit()
        for _ in range(12):
            client = trial.client()
            expected = trial.ask(*client)
            assert trial.farm.connect(*client) == expected


@pytest.mark.parametrize("scheduler", ["rr", "wrr"])
def test_programs_go_on_where_they_were_with_a_ring_or_without(
    roomy: Director, scheduler: str, family: int, hook: str
) -> None:
    """A service that gets a ring, another one, and none any more, misses no choice of the model's and repeats none."""
    trial = Trial(roomy, scheduler, frozenset(), family, hook, weights=(0, 1, 2, 3, 10))
    rings = set()
    for share in (0.9, 0.9, 0.9, 0.2) * 3:
        trial.edit(share)
        rings.add(sched.get(scheduler).ring([s.weight for s in trial.servers]) is not None)
        for _ in range(30):
            client = trial.client()
            expected = trial.ask(*client)
            assert trial.farm.connect(*client) == expected
    assert rings == {False, True}


def test_a_flow_that_finds_no_room_gets_the_stateless_choice(roomy: Director, family: int, hook: str) -> None:
    """When the flow table is full, weighted rendezvous hashing says where each packet goes."""
    trial = Trial(roomy, "rr", frozenset(), family, hook)
    for _ in range(4):
        trial.edit()
    roomy.crowd()
    numbers = trial.farm.numbers()
    slots = [(numbers[s.address], s.weight) for s in reversed(trial.servers)]
    for _ in range(50):
        client = trial.client()
        chosen = trial.farm.connect(*client)
        assert chosen is not None
        assert numbers[chosen] == stateless.choose(slots, *client)
    assert roomy.live() == 0
