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
    others = sorted({*run.targets} - {service.key.address})
    there = farm.Farm(roomy, service, hook, closes=run.mode == "closed", others=others)
    assert captures.replay(run, there) == run.sequence


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
        uppers: Sequence[int] = (0,),
        table: int = 0,
    ) -> None:
        self.chance = random.Random(f"{scheduler} {sorted(flags)} {family}")
        self.key = ServiceKey("tcp", Address.parse("192.0.2.1" if family == 4 else "2001:db8::1"), 80)
        self.others = [later(self.key.address, i) for i in range(1, 8)]
        self.virtual = self.key.address
        self.farm = farm.Farm(director, Service(self.key, scheduler, flags, table=table), hook, others=self.others)
        self.model = sched.Model(scheduler, flags, table)
        self._loads: dict[int, sched.Load] = {}
        self._reached: dict[int, int] = {}
        self._limits = uppers
        self._now = 0
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
        self._note_loads(self.farm.numbers())
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
        self._note_loads(numbers)
        virtual = self.chance.choice([self.key.address, *self.others])
        number = self.model.choose(sched.Ask(client, port, self._loads.__getitem__, virtual, self._now))
        self.virtual = virtual
        return next((address for address, known in numbers.items() if known == number), None)

    def connect(self, client: Address, port: int) -> Address | None:
        """Connect to the virtual address that was asked for last; return the server it went to."""
        return self.farm.connect(client, port, self.virtual)

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self._now += seconds
        self.farm.director.age(seconds)

    def overloaded(self) -> int:
        """Return how many servers take no connections because of their limits."""
        return sum(load.overloaded for load in self._loads.values())

    def _note_loads(self, numbers: dict[Address, int]) -> None:
        """Take over what the programs counted; who is overloaded follows from that, as no connection ends."""
        uppers = {s.address: s.upper for s in self.servers}
        loads = self.farm.loads().items()
        for address, (active, inactive) in loads:
            number, upper = numbers[address], uppers[address]
            was = self._loads.get(number, sched.Load())
            if was[:2] != (active, inactive) and 0 < upper <= active + inactive:
                self._reached[number] = upper
            overloaded = 0 < upper <= self._reached.get(number, 0)
            self._loads[number] = sched.Load(active, inactive, overloaded)

    def _server(self, address: Address) -> Server:
        return Server(address, 80, "nat", self.chance.choice(self._weights), self.chance.choice(self._limits))


CASES = [(name, frozenset[str]()) for name in sched.names() if name != "twos"] + [
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
            assert trial.connect(*client) == expected


@pytest.mark.parametrize(("scheduler", "flags"), CASES, ids=IDS)
def test_programs_choose_what_the_model_chooses_of_servers_with_thresholds(
    roomy: Director, scheduler: str, flags: frozenset[str], hook: str
) -> None:
    """Some servers have a limit, which some reach: those are passed over until an edit raises it."""
    trial = Trial(roomy, scheduler, flags, 4, hook, weights=(0, 1, 2, 3, 7), uppers=(0, 1, 2, 3))
    overloaded = 0
    for share in (0.9, 0.8, 0.2) * 2:
        trial.edit(share)
        for _ in range(40):
            client = trial.client()
            expected = trial.ask(*client)
            overloaded = max(overloaded, trial.overloaded())
            assert trial.connect(*client) == expected
    assert overloaded >= (1 if scheduler == "fo" else 3)


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_what_is_remembered_of_an_address_grows_old(roomy: Director, scheduler: str, family: int, hook: str) -> None:
    """After a day without a connection, or of a set without a change, programs and model forget the same."""
    trial = Trial(roomy, scheduler, frozenset(), family, hook, weights=(0, 1, 2, 3))
    for share in (0.9, 0.9, 0.3, 0.9):
        trial.edit(share)
        for _ in range(60):
            trial.wait(trial.chance.choice((0, 0, 0, 20000, 80000)))
            client = trial.client()
            expected = trial.ask(*client)
            assert trial.connect(*client) == expected


@pytest.mark.parametrize("scheduler", ["lblc", "lblcr"])
def test_how_long_an_address_is_remembered_is_said(roomy: Director, scheduler: str, hook: str) -> None:
    """lblc_expiration and lblcr_expiration, each of its own scheduler."""
    servers = [Server(address, 80, "nat", 4) for address in farm.addresses(4)[:2]]
    service = Service(ServiceKey("tcp", Address.parse("192.0.2.1"), 80), scheduler, servers=tuple(servers))
    there = farm.Farm(roomy, service, hook)
    there.change(servers)
    client = Address.parse("198.51.100.7")
    try:
        for name, passed, expected in (
            (scheduler, 0, 1), (scheduler, 9, 1), (scheduler, 10, 0),
            ({"lblc": "lblcr", "lblcr": "lblc"}[scheduler], 10, 0),
        ):  # fmt: skip
            roomy.configure(sysctls={f"{name}_expiration": "10"})
            roomy.age(passed)
            assert there.connect(client, 1000 + 100 * passed + len(name)) == servers[expected].address
    finally:
        roomy.configure()


def test_another_scheduler_s_memory_is_not_used(roomy: Director, hook: str) -> None:
    """A service that had lblc before, and has it again, begins like a new one."""
    servers = [Server(address, 80, "nat", 4) for address in farm.addresses(4)[:2]]
    service = Service(ServiceKey("tcp", Address.parse("192.0.2.1"), 80), "lblc", servers=tuple(servers))
    there = farm.Farm(roomy, service, hook)
    there.change(servers)
    client = Address.parse("198.51.100.7")
    assert {there.connect(client, port) for port in (1, 2)} == {servers[1].address}
    roomy.age(10)
    there.change_scheduler("rr")
    there.change_scheduler("lblc")
    assert there.connect(client, 3) == servers[0].address


def drawn(roomy: Director, hook: str, weights: Sequence[int], count: int, *, idle: bool) -> list[int]:
    """Return how many of so many connections twos sent to each server; *idle* ones have ended before the next."""
    servers = [Server(a, 80, "nat", w) for a, w in zip(farm.addresses(4), weights, strict=False)]
    service = Service(ServiceKey("tcp", Address.parse("192.0.2.1"), 80), "twos", servers=tuple(servers))
    there = farm.Farm(roomy, service, hook)
    there.change(servers)
    chosen = []
    for port in range(count):
        if idle:
            roomy.idle()
        chosen.append(there.connect(Address.parse("198.51.100.7"), 1024 + port))
    return [chosen.count(server.address) for server in servers]


@pytest.mark.parametrize(
    ("weights", "shares"), [((1, 1, 1, 1), (1, 1, 1, 2)), ((1, 2, 3), (1, 2, 4)), ((0, 4, 0), (0, 5, 0))]
)
def test_twos_draws_by_weight(roomy: Director, hook: str, weights: tuple[int, ...], shares: tuple[int, ...]) -> None:
    """Without loads each server gets its weight's share, and the newest one more: as measured on a real IPVS."""
    counts = drawn(roomy, hook, weights, 800, idle=True)
    for count, share in zip(counts, shares, strict=True):
        assert abs(count / 800 - share / sum(shares)) < 0.08


def test_twos_takes_the_less_loaded_of_two(roomy: Director, hook: str) -> None:
    """Connections that stay open are spread by weight: 66 134 200 of 400 on a real IPVS, and nobody at random."""
    counts = drawn(roomy, hook, (1, 2, 3), 400, idle=False)
    assert all(abs(count - share) < 15 for count, share in zip(counts, (67, 133, 200), strict=True))


def test_a_larger_table_of_mh_is_used_to_its_end(roomy: Director, family: int, hook: str) -> None:
    """The size that a service asks for is that of its table, in the daemon and in the programs."""
    trial = Trial(roomy, "mh", frozenset({"flag-2"}), family, hook, table=131071)
    for _ in range(3):
        trial.edit()
        for _ in range(40):
            client = trial.client()
            expected = trial.ask(*client)
            assert trial.connect(*client) == expected


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
            assert trial.connect(*client) == expected
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
        chosen = trial.connect(*client)
        assert chosen is not None
        assert numbers[chosen] == stateless.choose(slots, *client)
    assert roomy.live() == 0
