"""A kernel in memory and a road map in memory: what the engine needs of the host, without root."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tests.unit.plan.fake import FakeMaps
from xlvs.daemon.engine import Engine
from xlvs.daemon.paths import Paths
from xlvs.daemon.store import Store
from xlvs.model import Address
from xlvs.plan import writes as w

RawCounters = defaultdict[int, list[int]]


class FakeKernel(FakeMaps):
    """The maps with their counters; *refuse* makes writes to one map fail as a full one does."""

    def __init__(self, services: int = 64, servers: int = 256, blocks: int = 64) -> None:
        super().__init__(services, servers, blocks)
        self.raw: dict[str, RawCounters] = {kind: defaultdict(lambda: [0] * 5) for kind in ("service", "server")}
        self.refuse = ""
        self.made: list[w.Write] = []

    def write(self, write: w.Write) -> None:
        """Make one write, or fail."""
        if self.refuse and getattr(write, "name", "tables") == self.refuse:
            raise OSError(7, "Argument list too long")
        super().write(write)
        self.made.append(write)
        self.check()

    def loads(self, count: int) -> np.ndarray:
        """Return active and inactive flows and templates of the first *count* servers."""
        return np.array([[self.flows.get(n, 0), 0, 0] for n in range(count)], np.int64).reshape(count, 3)

    def stats(self, kind: str, count: int) -> np.ndarray:
        """Return the counters of the first *count* numbers."""
        return np.array([self.raw[kind][n] for n in range(count)], np.int64).reshape(count, 5)

    def load(self, number: int) -> tuple[int, int, int]:
        """Return active and inactive flows and templates of one server."""
        return self.flows.get(number, 0), 0, 0

    def some_stats(self, kind: str, numbers: np.ndarray) -> np.ndarray:
        """Return the counters of these numbers."""
        return np.array([self.raw[kind][int(n)] for n in numbers], np.int64).reshape(-1, 5)

    def stat(self, kind: str, number: int) -> np.ndarray:
        """Return the counters of one number."""
        return np.array(self.raw[kind][number], np.int64)


class FakeRoutes:
    """Every address is reached from *own*."""

    def __init__(self) -> None:
        self.own: Address | None = None
        self.probed: list[Address] = []

    def sources(self, addresses: Iterable[Address]) -> dict[Address, Address | None]:
        """Return the director's address towards each."""
        return dict.fromkeys(addresses, self.own)

    def probe(self, addresses: Iterable[Address]) -> None:
        """Note who was asked about."""
        self.probed += addresses

    def tend(self, addresses: Callable[[], Iterable[Address]]) -> None:
        """Note who is to be kept."""
        self.probed += addresses()

    def forget(self) -> None:
        """Forget nothing: there is nothing kept."""


def paths(directory: Path) -> Paths:
    """Return the paths of an instance below *directory*."""
    return Paths("test", directory / "run", directory / "state")


def engine(directory: Path, kernel: FakeKernel, *, adopted: bool = False, routes: FakeRoutes | None = None) -> Engine:
    """Return a started engine over *kernel*, with its disk below *directory*."""
    made = Engine(kernel, Store(paths(directory)), routes or FakeRoutes())  # type: ignore[arg-type]
    made.start(adopted=adopted)
    return made
