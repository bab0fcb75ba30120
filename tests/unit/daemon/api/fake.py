"""A director in memory under the real API: states are put in force by keeping them, counters are what a test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from msgspec.structs import replace

from tests.unit.dataplane.mapped import FakeTable
from xlvs.daemon import stats
from xlvs.daemon.api import Change
from xlvs.daemon.server import Server
from xlvs.daemon.stats import Counters
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import FlowTable
from xlvs.errors import XlvsError
from xlvs.health.checker import ServerState
from xlvs.model import Service, ServiceKey, State

ROOM = 1 << 18
"""Services and servers that fit."""


class FakeKernel:
    """Counters as arrays, and a flow table in memory; *reads* notes what was read of the counters."""

    def __init__(self) -> None:
        self.raw = {kind: np.zeros((ROOM, 5), np.int64) for kind in ("service", "server")}
        self.load_rows = np.zeros((ROOM, 3), np.int64)
        self.held = FakeTable()
        self.reads: list[str] = []

    @property
    def flows(self) -> FlowTable:
        """The flow table."""
        return self.held.table

    def stats(self, kind: str, count: int) -> np.ndarray[Any, Any]:
        """Return the counters of the first *count* numbers."""
        self.reads.append(f"all {kind}")
        return self.raw[kind][:count]

    def stat(self, kind: str, number: int) -> np.ndarray[Any, Any]:
        """Return the counters of one number."""
        self.reads.append(f"one {kind}")
        return self.raw[kind][number]

    def loads(self, count: int) -> np.ndarray[Any, Any]:
        """Return active and inactive flows and templates of the first *count* servers."""
        self.reads.append("all loads")
        return self.load_rows[:count]

    def load(self, number: int) -> tuple[int, int, int]:
        """Return active and inactive flows and templates of one server."""
        self.reads.append("one load")
        active, inactive, persistent = self.load_rows[number].tolist()
        return active, inactive, persistent

    def calls(self) -> dict[bytes, tuple[bytes, bytes]]:
        """Return none."""
        return {}

    def reasons(self) -> dict[str, int]:
        """Return drops."""
        return {"no_server": 3}

    def counters(self) -> dict[str, int]:
        """Return events."""
        return {"flow_new": 7}


class FakeEngine:
    """Puts a state in force by keeping it; numbers services and servers in the order in which they come."""

    def __init__(self) -> None:
        self.state = State()
        self.kernel = FakeKernel()
        self.counters = {kind: Counters(ROOM) for kind in ("service", "server")}
        self.layout = SimpleNamespace(services={}, rows=np.zeros(ROOM, abi.SERVER), retired={})
        self.judge: Callable[[Service], Service] = lambda service: service
        self.refusal: XlvsError | None = None
        self.applied: list[Collection[ServiceKey] | None] = []
        self._ends = {"service": 0, "server": 0}
        self._numbers: dict[object, int] = {}

    def apply(self, new: State, keys: Collection[ServiceKey] | None = None) -> None:
        """Keep *new*, or refuse it."""
        if self.refusal:
            raise self.refusal
        self.applied.append(keys)
        self.hold(replace(new, generation=self.state.generation + 1), keys)

    def hold(self, state: State, keys: Collection[ServiceKey] | None = None) -> None:
        """Let *state* be in force, in which *keys* may differ from before (None: any)."""
        self.state = state
        for key in {**self.layout.services, **state.services} if keys is None else keys:
            if key in state.services:
                self.layout.services[key] = self._place(state.services[key])
            else:
                self.layout.services.pop(key, None)

    def zero(self, keys: Collection[ServiceKey]) -> None:
        """Take what is counted now as zero."""
        for key in keys:
            place = self.layout.services[key]
            for kind, numbers in (("service", [place.id]), ("server", place.numbers)):
                chosen = np.array(numbers, np.uint32)
                self.counters[kind].zero(chosen, self.kernel.raw[kind][chosen])

    def set_rates(self, kind: str, number: int, rates: list[int]) -> None:
        """Let *number* have these rates per second."""
        self.counters[kind]._estimate[number] = np.array(rates) << stats._SHIFTS

    def end(self, kind: str) -> int:
        """Return one more than the highest number."""
        return self._ends[kind]

    def _place(self, service: Service) -> SimpleNamespace:
        numbers = []
        for server in service.servers:
            numbers.append(self._number("server", (service.key, server.key)))
            row = self.layout.rows[numbers[-1]]
            row["addr"], row["port"] = np.frombuffer(server.address, abi.ADDR)[0], server.port
            row["virt"], row["vport"] = np.frombuffer(service.key.address, abi.ADDR)[0], service.key.port
            row["proto"] = 6 if service.key.protocol == "tcp" else 17
        return SimpleNamespace(service=service, id=self._number("service", service.key), numbers=tuple(numbers))

    def _number(self, kind: str, thing: object) -> int:
        if thing not in self._numbers:
            self._numbers[thing] = self._ends[kind]
            self._ends[kind] += 1
        return self._numbers[thing]


class FakeDirector:
    """What the API asks of a daemon; *told* is what it was told to do."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.told: list[str] = []
        self.states: list[ServerState] = []

    def health(self) -> list[ServerState]:
        """Return what a test wants to be known."""
        return self.states

    def drain(self, service: Service, server: Server, *, on: bool) -> None:
        """Note it."""
        self.told.append(f"{'drain' if on else 'undrain'} {service.key.id} {server}")
        self.states = [ServerState(service.name or service.key.id, str(server), "draining", 0, 0.0, "", [])]

    def facts(self) -> dict[str, Any]:
        """Return an identity."""
        return {"instance": "test", "pid": 4711, "version": "0", "netns": "", "abi": 1}

    def interfaces(self) -> list[dict[str, Any]]:
        """Return one interface."""
        return [{"name": "eth0", "hook": "xdp", "why": "physical"}]

    def sysctls(self) -> dict[str, str]:
        """Return those of the state: there is memory."""
        return self.engine.state.sysctls

    def warnings(self) -> list[str]:
        """Return one warning."""
        return ["forwarding is off"]

    def changed(self, keys: Collection[ServiceKey] | None = None) -> None:
        """Note it."""
        self.told.append("changed")

    def reload(self) -> None:
        """Note it."""
        self.told.append("reload")

    def stop(self, *, purge: bool) -> None:
        """Note it."""
        self.told.append("purge" if purge else "stop")


class Running:
    """A real server on a real socket in a thread of this process; use it in a ``with`` statement."""

    def __init__(self, path: Path, director: FakeDirector, **limits: Any) -> None:
        self.path = path
        self.director = director
        self._loop = asyncio.new_event_loop()
        self.server = self._call_in_loop(lambda: Server(path, director, **limits))
        self.connections = 0
        self._count_connections()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Running:
        self._loop.run_until_complete(self.server.start())
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        left = asyncio.all_tasks(self._loop)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
        assert not left, left

    def publish(self, change: Change) -> None:
        """Publish as the daemon does, in its loop."""
        self._loop.call_soon_threadsafe(self.server.publish, change)

    def _count_connections(self) -> None:
        running = self
        config = self.server._uvicorn.config

        class Counted(config.http):  # type: ignore[name-defined, misc]
            def connection_made(self, transport: asyncio.Transport) -> None:
                running.connections += 1
                super().connection_made(transport)

        config.http = Counted

    def _call_in_loop(self, make: Any) -> Any:
        async def made() -> Any:
            return make()

        return self._loop.run_until_complete(made())
