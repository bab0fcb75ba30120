"""Runs of connections captured on a real IPVS (Debian's kernel 6.1), to be repeated on anything that chooses servers.

A run is a service, its servers in the order they were added, and connections
one after another, with edits of the servers in between.  A `Director` does
what the run says; `replay` answers with the servers it chose, as one string to
compare with `Run.sequence`: ``3`` for r3, ``-`` for a refused connection.

A run with several destinations was one of a service by firewall mark.  Not among
the runs is the one of a persistent service: what it shows is not a scheduler.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xlvs.model import Address, Server

DATA = Path(__file__).parent / "unit" / "sched" / "data" / "captures.json"

Load = tuple[int, int]
"""Active and inactive connections of a server."""


class Director(Protocol):
    """What a run needs of a director that has the run's service, yet without servers."""

    def add(self, server: Server) -> None:
        """Add a server."""

    def edit(self, server: Server) -> None:
        """Replace the server of the same address and port."""

    def delete(self, server: Server) -> None:
        """Delete the server of this address and port."""

    def connect(self, source: Address, port: int, virtual: Address) -> Address | None:
        """Open a connection, or open and close it; return the chosen server's address, None if refused."""

    def loads(self) -> dict[Address, Load]:
        """Return the connections of every server that is there now."""


@dataclass(frozen=True, slots=True)
class Run:
    """One captured run; in mode ``closed`` each connection is over before the next begins."""

    name: str
    scheduler: str
    flags: tuple[str, ...]
    """As ipvsadm writes them: ``sh-port``."""
    forward: str
    mode: str
    virtual: tuple[Address, int]
    changes: dict[int, list[tuple[str, Server]]]
    """Before which connection to add, edit or delete which server."""
    clients: tuple[tuple[Address, int], ...]
    targets: tuple[Address, ...]
    """The virtual address of each connection."""
    sequence: str
    loads: dict[int, dict[Address, Load]]
    """After how many connections which loads were seen."""


def later(address: Address, by: int) -> Address:
    """Return the address that many behind *address*."""
    return Address((int.from_bytes(address) + by).to_bytes(16))


def runs() -> list[Run]:
    """Return every captured run."""
    data = json.loads(DATA.read_text())
    servers = {name: Address.parse(address) for name, address in data["servers"].items()}
    return [_run(run, servers) for run in data["runs"]]


def replay(run: Run, director: Director) -> str:
    """Do on *director* what the run did; return the servers it chose, and fail on loads that IPVS did not have."""
    chosen = ""
    for i, ((source, port), virtual) in enumerate(zip(run.clients, run.targets, strict=True)):
        for verb, server in run.changes.get(i, ()):
            getattr(director, verb)(server)
        address = director.connect(source, port, virtual)
        # r1 is 10.0.1.11, and so on.
        chosen += "-" if address is None else str(address.packed[-1] % 10)
        if i + 1 in run.loads:
            assert director.loads() == run.loads[i + 1], f"after connection {i + 1}, having chosen {chosen}"
    return chosen


def _run(run: dict[str, Any], servers: dict[str, Address]) -> Run:
    def server(name: str, weight: int = 0, upper: int = 0, lower: int = 0) -> Server:
        return Server(servers[name], run["port"], run["forward"], weight, upper, lower)

    changes = {0: [("add", server(*words)) for words in run["weights"]]}
    for before, verb, *rest in run["events"]:
        changes.setdefault(before, []).append((verb, server(*rest)))
    count = len(run["sequence"])
    return Run(
        run["name"],
        run["scheduler"],
        tuple(run["flags"]),
        run["forward"],
        run["mode"],
        (Address.parse(run["virtual"][0]), run["virtual"][1]),
        changes,
        tuple(zip(_addresses(run["sources"], count), range(run["first_port"], run["first_port"] + count), strict=True)),
        tuple(_addresses(run.get("targets", [run["virtual"][0], 0]), count)),
        run["sequence"],
        {
            int(after): {servers[name]: (active, inactive) for name, (active, inactive) in loads.items()}
            for after, loads in run["counts"].items()
        },
    )


def _addresses(some: list[Any], count: int) -> list[Address]:
    """Expand [first address, step], or a list of all that are taken in turn."""
    if isinstance(some[1], int):
        return [later(Address.parse(some[0]), i * some[1]) for i in range(count)]
    return [Address.parse(some[i % len(some)]) for i in range(count)]
