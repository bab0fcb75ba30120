"""The flow table as it should be: bpf/buckets.h, open.h, flow.h and sweep.h in a few lines, for one CPU.

    table = Table(seed=(1, 2), buckets={4: 2, 6: 2}, spill=16)
    table.open(Flow(ends, server=3, state=FlowState.UDP, seen=now), now)    # "own", "beside", "spill", "full", ...
    table.find(ends, now)
    table.find_reply(client, cport, protocol, is_server, now)

A bucket has four slots.  A flow lies in the bucket to which its client's address, port and protocol lead, in the
one whose number differs in the lowest bit, or in the spill, under its client and one of four ways.  Time is an
argument, in jiffies.  What a packet does to a flow's state is the caller's business: see `Table.step`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from xlvs.dataplane import _abi as abi
from xlvs.dataplane._abi import FlowState

_64 = (1 << 64) - 1
MAPPED = bytes(10) + b"\xff\xff"
"""How an IPv4 address begins."""

TCP, UDP = 6, 17


class Ends(NamedTuple):
    """Whose packets a flow has: both addresses as 16 bytes, IPv4 mapped, and the protocol's number."""

    client: bytes
    cport: int
    virt: bytes
    vport: int
    protocol: int

    @property
    def family(self) -> int:
        """4 or 6."""
        return 4 if self.virt.startswith(MAPPED) else 6


def bucket_of(seed: Sequence[int], buckets: int, ends: Ends) -> int:
    """Return the number of the bucket, of so many, to which client address, port and protocol lead."""
    w = [int.from_bytes(ends.client[i : i + 4], "little") for i in range(0, 16, 4)]
    x = int.from_bytes(ends.cport.to_bytes(2, "big"), "little") << 32 | ends.protocol << 48 | w[3]
    if ends.family == 6:
        x ^= ((w[0] << 32 | w[1]) ^ seed[1]) * 0x9FB21C651E98DF25 & _64
        x ^= x >> 29
        x = (x ^ w[2] << 7) * 0xD6E8FEB86659FD93 & _64
    x = (x ^ seed[0]) * 0xBF58476D1CE4E5B9 & _64
    x = (x ^ x >> 32 ^ seed[1]) * 0x94D049BB133111EB & _64
    return (x >> 32) * buckets >> 32


def _hashed(ends: Ends) -> tuple[bytes, int, int, int]:
    return ends.client, ends.cport, ends.protocol, ends.family


class Place(NamedTuple):
    """Where a flow lies: a slot of a bucket, or, without one, a way of the spill."""

    bucket: int | None
    slot: int


@dataclass
class Flow:
    """A flow; *fwd* is ``nat`` where replies find it."""

    ends: Ends
    server: int
    state: FlowState
    seen: int
    fwd: str = "nat"


@dataclass
class Table:
    """The tables of both families, with the spill that they share, of *spill* flows; *idle* jiffies by state."""

    seed: tuple[int, int]
    buckets: Mapping[int, int]
    spill: int
    idle: dict[FlowState, int] = field(default_factory=lambda: {state: state.idle_s * 250 for state in FlowState})
    counters: Counter[str] = field(default_factory=Counter)
    taken: Counter[tuple[int, Place]] = field(default_factory=Counter)
    """How often each slot was."""

    _slots: dict[tuple[int, int, int], Flow] = field(default_factory=dict)
    _spill: dict[tuple[bytes, int, int, int], Flow] = field(default_factory=dict)

    def flows(self) -> Iterator[tuple[Place, Flow]]:
        """Yield all flows, idle for too long or not, with their places."""
        for (_, bucket, slot), flow in self._slots.items():
            yield Place(bucket, slot), flow
        for (_, _, _, way), flow in self._spill.items():
            yield Place(None, way), flow

    def loads(self) -> Counter[tuple[int, bool]]:
        """Return how many flows each server has, by whether they count as active."""
        return Counter((flow.server, flow.state.active) for _, flow in self.flows())

    def place(self, flow: Flow) -> Place:
        """Return where a flow lies."""
        return next(place for place, other in self.flows() if other is flow)

    def is_idle(self, flow: Flow, now: int) -> bool:
        """Say whether a flow had no packet for longer than its state allows."""
        return now - flow.seen > self.idle[flow.state]

    def find(self, ends: Ends, now: int) -> Flow | None:
        """Return the flow of these ends; one that is idle for too long ends here."""
        return self._live((flow for flow in self._near(ends) if flow.ends == ends), now)

    def find_reply(
        self, client: bytes, cport: int, protocol: int, family: int, is_server: Callable[[int], bool], now: int
    ) -> Flow | None:
        """Return the flow, with nat, that a server's packet to this client is of; *is_server*: of that number."""
        virt = MAPPED + bytes(4) if family == 4 else bytes(16)
        near = self._near(Ends(client, cport, virt, 0, protocol))
        return self._live((flow for flow in near if flow.fwd == "nat" and is_server(flow.server)), now)

    def _live(self, found: Iterator[Flow], now: int) -> Flow | None:
        flow = next(found, None)
        if flow and self.is_idle(flow, now):
            self.end(flow)
            return None
        return flow

    def home(self, ends: Ends) -> int:
        """Return the number of the flow's own bucket."""
        return bucket_of(self.seed, self.buckets[ends.family], ends)

    def _candidates(self, ends: Ends) -> list[Place]:
        home = self.home(ends)
        return [Place(bucket, slot) for bucket in (home, home ^ 1) for slot in range(abi.WAYS)]

    def _near(self, ends: Ends) -> Iterator[Flow]:
        """Yield the flows of this client's address, port and protocol, in the order in which a packet looks."""
        places = [self._slots.get((ends.family, *place)) for place in self._candidates(ends)]
        ways = [self._spill.get((ends.client, ends.cport, ends.protocol, way)) for way in range(abi.SPILL_WAYS)]
        for flow in (*places, *ways):
            if flow and _hashed(flow.ends) == _hashed(ends):
                yield flow

    def open(self, flow: Flow, now: int) -> str:
        """Enter a flow and say where: own, beside, spill, reclaimed, or full, when it has no room; known: it is there.

        One of its ends that is idle for too long goes first: there are never two of the same ends.
        """
        if self.find(flow.ends, now):
            return "known"
        where = self._enter(flow, now)
        self.counters["flow_opened"] += where != "full"
        names = {"beside": "flow_beside", "spill": "flow_spilled", "reclaimed": "flow_reclaimed", "full": "flow_full"}
        if where in names:
            self.counters[names[where]] += 1
        return where

    def _enter(self, flow: Flow, now: int) -> str:
        family = flow.ends.family
        for number, place in enumerate(self._candidates(flow.ends)):
            before = self._slots.get((family, *place))
            if before is None or self.is_idle(before, now):
                self._take(place, flow)
                return "own" if number < abi.WAYS else "beside"
        for way in range(abi.SPILL_WAYS):
            key = (flow.ends.client, flow.ends.cport, flow.ends.protocol, way)
            if len(self._spill) < self.spill and key not in self._spill:
                self._spill[key] = flow
                return "spill"
        places = self._candidates(flow.ends)
        spare = [place for place in places if self._slots[(family, *place)].state.reclaim]
        if not spare:
            return "full"
        # Of equals the last.
        self._take(min(reversed(spare), key=lambda place: self._slots[(family, *place)].seen), flow)
        return "reclaimed"

    def _take(self, place: Place, flow: Flow) -> None:
        before = self._slots.get((flow.ends.family, *place))
        if before:
            self.end(before)
        self._slots[(flow.ends.family, *place)] = flow
        self.taken[(flow.ends.family, place)] += 1

    def step(self, flow: Flow, state: FlowState, now: int) -> None:
        """Let a packet of the flow bring it to this state."""
        flow.state, flow.seen = state, now

    def end(self, flow: Flow) -> None:
        """Take a flow out."""
        for holder in (self._slots, self._spill):
            for key in [key for key, other in holder.items() if other is flow]:
                del holder[key]
        self.counters["flow_expired"] += 1

    def sweep(self, now: int) -> None:
        """End all flows that are idle for too long."""
        for _, flow in list(self.flows()):
            if self.is_idle(flow, now):
                self.end(flow)
