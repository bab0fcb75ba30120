"""A daemon without a kernel: the real API on a real socket, with counters and flows given by the test."""

from __future__ import annotations

from pathlib import Path

from tests.unit.daemon.api.fake import FakeDirector, FakeEngine, Running
from xlvs.dataplane import _abi as abi
from xlvs.errors import NoSuchServiceError, XlvsError
from xlvs.model import ServiceKey, State


class FakeDaemon:
    """A daemon in a thread of this process; use it in a ``with`` statement.  It balances nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._director = FakeDirector()
        self._running = Running(path, self._director)

    def __enter__(self) -> FakeDaemon:
        self._running.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._running.__exit__(*error)

    def reset(self) -> None:
        """Forget everything."""
        self._director.engine = FakeEngine()
        self._running.connections = 0

    @property
    def _engine(self) -> FakeEngine:
        return self._director.engine

    @property
    def state(self) -> State:
        """The state in force."""
        return self._engine.state

    @state.setter
    def state(self, state: State) -> None:
        self._engine.hold(state)

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return self._running.connections

    @property
    def changes(self) -> int:
        """How many changes there have been."""
        return len(self._engine.applied)

    def refuse(self, error: XlvsError) -> None:
        """Refuse every change with *error*."""
        self._engine.refusal = error

    def count(self, row: str, view: str, numbers: list[int]) -> None:
        """Let *row*, "VIP:port" or "VIP:port server:port", have these ``stats`` or ``rates``, or this ``load``."""
        kind, number = self._find(row)
        kernel = self._engine.kernel
        if view == "load":
            kernel.load_rows[number, : len(numbers)] = numbers
        elif view == "stats":
            kernel.raw[kind][number] = numbers
        else:
            self._engine.set_rates(kind, number, numbers)

    def flow(self, state: str, expires_s: int, client: str, virtual: str, server: str) -> None:
        """Add a flow of TCP; its ends are "address:port"."""
        _, number = self._find(f"{virtual} {server}")
        ends = [(address, int(port)) for address, _, port in (end.rpartition(":") for end in (client, virtual))]
        idle_s = abi.FlowState[state].idle_s - expires_s
        self._engine.kernel.held.add(ends[0], ends[1], number, state, idle_s=idle_s)

    def _find(self, row: str) -> tuple[str, int]:
        service, _, server = row.partition(" ")
        key = ServiceKey.parse(f"tcp:{service}")
        place = self._engine.layout.services[key]
        if not server:
            return "service", place.id
        for number, found in zip(place.numbers, self.state.services[key].servers, strict=True):
            if str(found) == server:
                return "server", number
        raise NoSuchServiceError(row)
