"""The models against a real kernel: every captured run, connection by connection."""

from __future__ import annotations

import pytest

from tests import captures
from xlvs import sched
from xlvs.model import Address, Server


class ModelDirector:
    """A director in memory: `sched.Model` and nothing else."""

    def __init__(self, run: captures.Run) -> None:
        self._model = sched.Model(run.scheduler, frozenset(sched.flag(run.scheduler, word) for word in run.flags))
        self._closes = run.mode == "closed"
        self._servers: list[sched.Entry] = []
        self._numbers: dict[Address, int] = {}
        self._loads: dict[int, sched.Load] = {}
        self._limits: dict[int, tuple[int, int]] = {}

    def add(self, server: Server) -> None:
        """Add a server, with the number it had before if it is not new."""
        number = self._numbers.setdefault(server.address, 7 * len(self._numbers))
        self._loads.setdefault(number, sched.Load())
        self._limits[number] = (server.upper, server.lower)
        self._change([sched.Entry(number, server.address, server.port, server.weight, server.weight), *self._servers])

    def edit(self, server: Server) -> None:
        """Give a server another weight."""
        self._change(
            [
                sched.Entry(s.number, s.address, s.port, server.weight, server.weight or s.last_weight)
                if s.address == server.address
                else s
                for s in self._servers
            ]
        )

    def delete(self, server: Server) -> None:
        """Delete a server; its connections stay counted."""
        self._change([s for s in self._servers if s.address != server.address])

    def connect(self, source: Address, port: int, virtual: Address) -> Address | None:
        """Ask the model, and count the connection."""
        number = self._model.choose(sched.Ask(source, port, self._loads.__getitem__, virtual))
        if number is None:
            return None
        active, inactive, overloaded = self._loads[number]
        active, inactive = (active, inactive + 1) if self._closes else (active + 1, inactive)
        upper, _ = self._limits[number]
        self._loads[number] = sched.Load(active, inactive, overloaded or 0 < upper <= active + inactive)
        return next(s.address for s in self._servers if s.number == number)

    def loads(self) -> dict[Address, captures.Load]:
        """Return what was counted."""
        return {s.address: self._loads[s.number][:2] for s in self._servers}

    def _change(self, servers: list[sched.Entry]) -> None:
        self._servers = servers
        self._model.change(servers)


@pytest.mark.parametrize("run", captures.runs(), ids=lambda run: run.name)
def test_model_chooses_what_the_kernel_chose(run: captures.Run) -> None:
    """The same history gives the same servers, through every edit on the way."""
    assert captures.replay(run, ModelDirector(run)) == run.sequence


def test_every_scheduler_was_captured() -> None:
    """No member of the family goes without a real kernel's word, but the one that draws by chance."""
    assert {run.scheduler for run in captures.runs()} == set(sched.names()) - {"twos"}
