"""What clients are shown of services: their servers and counters, as values that become JSON.

Reads, never writes.  A list of all services reads whole maps once and is built
without a dictionary per row; one service reads its own numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import UNSET, UnsetType

from xlvs.daemon.stats import Counters
from xlvs.dataplane.flows import FlowTable
from xlvs.model import Health, Server, ServerHealth, Service, ServiceKey, State

Array = npt.NDArray[Any]

Detail = Literal["all", "connections", "none"]
"""How much is counted beside each service: everything, the servers' connections, nothing."""


class Placed(Protocol):
    """Where a service is in the maps: its number, and those of its servers as they are in force."""

    @property
    def service(self) -> Service: ...
    @property
    def id(self) -> int: ...
    @property
    def numbers(self) -> Iterable[int]: ...


class Kernel(Protocol):
    """What is read of `xlvs.daemon.kernel.Kernel`."""

    @property
    def flows(self) -> FlowTable: ...
    def stats(self, kind: str, count: int) -> Array: ...
    def stat(self, kind: str, number: int) -> Array: ...
    def loads(self, count: int) -> Array: ...
    def load(self, number: int) -> tuple[int, int, int]: ...
    def calls(self) -> dict[bytes, tuple[bytes, bytes]]: ...
    def reasons(self) -> dict[str, int]: ...
    def counters(self) -> dict[str, int]: ...


class Layout(Protocol):
    """What is read of `xlvs.plan.layout.Layout`."""

    services: Any
    """`Placed` by service key."""
    rows: Array
    """Server rows by number."""
    retired: Any
    """Numbers of servers that were taken out and have flows, by service key, address and port."""


class Engine(Protocol):
    """What is read of `xlvs.daemon.engine.Engine`."""

    state: State
    counters: dict[str, Counters]
    judge: Callable[[Service], Service]

    @property
    def kernel(self) -> Kernel: ...
    @property
    def layout(self) -> Layout: ...
    def end(self, kind: str) -> int: ...


class Measures(msgspec.Struct, frozen=True, gc=False):
    """Connections, packets and bytes: since they were last zeroed, or per second."""

    conns: int
    in_pkts: int
    out_pkts: int
    in_bytes: int
    out_bytes: int


class ServerView(msgspec.Struct, frozen=True, gc=False):
    """A real server; what is counted of it is there if it was asked for."""

    address: str
    port: int
    forward: str
    weight: int
    upper: int
    lower: int
    owner: str
    tunnel_port: int
    tunnel_checksum: str
    effective: int | UnsetType = UNSET
    """The weight that it has now, by its health, where that is another."""
    active: int | UnsetType = UNSET
    inactive: int | UnsetType = UNSET
    persistent: int | UnsetType = UNSET
    stats: Measures | UnsetType = UNSET
    rates: Measures | UnsetType = UNSET
    health: ServerHealth | UnsetType = UNSET


class ListenView(msgspec.Struct, frozen=True, gc=False):
    """What clients connect to; of a firewall mark *address* is how IPVS writes it (`ServiceKey`)."""

    protocol: str
    address: str
    port: int
    mark: int | UnsetType = UNSET
    family: int | UnsetType = UNSET


class MatchView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Packets that get the service's mark from xlvs."""

    address: str
    protocol: str = ""
    ports: str = ""


class ServiceView(msgspec.Struct, frozen=True):
    """A virtual service with its real servers, oldest first; what is counted of it is there if it was asked for."""

    listen: ListenView
    scheduler: str
    flags: list[str]
    servers: list[ServerView]
    name: str
    device: str
    owner: str
    persistent: int
    netmask: str
    engine: str
    ops: bool
    table: int
    match: list[MatchView]
    stats: Measures | UnsetType = UNSET
    rates: Measures | UnsetType = UNSET
    health: Health | UnsetType = UNSET
    sorry_server: ServerView | UnsetType = UNSET


def services(engine: Engine, detail: Detail) -> list[ServiceView]:
    """Return all services, in the order in which they were added."""
    shown = engine.state.services.values()
    if detail == "none":
        return [_service(service, [_plain(x, w) for x, w in _weighed(engine, service)]) for service in shown]
    loads = [*np.maximum(engine.kernel.loads(engine.end("server")), 0).tolist(), _NO_LOAD]
    if detail == "connections":
        return [_service(s, [_loaded(x, w, *loads[n]) for x, w, n in _numbered(engine, s)]) for s in shown]
    counts, rates = {}, {}
    for kind, counters in engine.counters.items():
        counts[kind] = [*counters.counts(engine.kernel.stats(kind, engine.end(kind))), _NO_COUNTS]
        rates[kind] = [*counters.rates(engine.end(kind)), _NO_COUNTS]

    def one(service: Service, place: Placed) -> ServiceView:
        servers = [
            _measured(x, w, loads[n], counts["server"][n], rates["server"][n]) for x, w, n in _numbered(engine, service)
        ]
        return _service(service, servers, Measures(*counts["service"][place.id]), Measures(*rates["service"][place.id]))

    return [one(service, engine.layout.services[service.key]) for service in shown]


def service(engine: Engine, key: ServiceKey, detail: Detail) -> ServiceView:
    """Return one service at the cost of one; raises `NoSuchServiceError`."""
    found = engine.state.service(key)
    if detail == "none":
        return _service(found, [_plain(server, weight) for server, weight in _weighed(engine, found)])
    kernel = engine.kernel

    def load(number: int) -> Iterable[int]:
        return kernel.load(number) if number >= 0 else _NO_LOAD

    if detail == "connections":
        return _service(found, [_loaded(server, w, *load(n)) for server, w, n in _numbered(engine, found)])

    def measures(kind: str, number: int) -> tuple[list[int], list[int]]:
        if number < 0:
            return _NO_COUNTS, _NO_COUNTS
        return engine.counters[kind].one(number, kernel.stat(kind, number))

    servers = [_measured(s, w, load(n), *measures("server", n)) for s, w, n in _numbered(engine, found)]
    counts, rates = measures("service", engine.layout.services[key].id)
    return _service(found, servers, Measures(*counts), Measures(*rates))


_NO_LOAD = [0, 0, 0]
_NO_COUNTS = [0, 0, 0, 0, 0]


def _weighed(engine: Engine, service: Service) -> Iterable[tuple[Server, int | UnsetType]]:
    """Return the servers, each with the weight that it has now if that is another: 0 for one that is taken out."""
    judged = engine.judge(service)
    return [(server, UNSET) for server in service.servers] if judged is service else _compared(service, judged)


def _compared(service: Service, judged: Service) -> list[tuple[Server, int | UnsetType]]:
    now = {server.key: server.weight for server in judged.servers}
    return [(s, UNSET if now.get(s.key, 0) == s.weight else now.get(s.key, 0)) for s in service.servers]


def _numbered(engine: Engine, service: Service) -> Iterable[tuple[Server, int | UnsetType, int]]:
    """Return the same, and each server's number; -1: it has none, as it was taken out and has no flows left."""
    place: Placed = engine.layout.services[service.key]
    judged = engine.judge(service)
    if judged is service:
        return [(server, UNSET, number) for server, number in zip(service.servers, place.numbers, strict=True)]
    numbers = {server.key: n for server, n in zip(place.service.servers, place.numbers, strict=True)}
    retired = engine.layout.retired
    return [(s, w, numbers.get(s.key, retired.get((service.key, *s.key), -1))) for s, w in _compared(service, judged)]


def _plain(s: Server, effective: int | UnsetType) -> ServerView:
    return ServerView(
        str(s.address), s.port, s.forward, s.weight, s.upper, s.lower, s.owner, s.tunnel_port, s.tunnel_checksum,
        effective, health=s.health or UNSET,
    )  # fmt: skip


def _loaded(s: Server, effective: int | UnsetType, active: int, inactive: int, persistent: int) -> ServerView:
    return ServerView(
        str(s.address), s.port, s.forward, s.weight, s.upper, s.lower, s.owner, s.tunnel_port, s.tunnel_checksum,
        effective, active, inactive, persistent, health=s.health or UNSET,
    )  # fmt: skip


def _measured(
    s: Server, effective: int | UnsetType, load: Iterable[int], counts: list[int], rates: list[int]
) -> ServerView:
    active, inactive, persistent = load
    return ServerView(
        str(s.address), s.port, s.forward, s.weight, s.upper, s.lower, s.owner, s.tunnel_port, s.tunnel_checksum,
        effective, active, inactive, persistent, Measures(*counts), Measures(*rates),
        s.health or UNSET,
    )  # fmt: skip


def _service(
    s: Service,
    servers: list[ServerView],
    stats: Measures | UnsetType = UNSET,
    rates: Measures | UnsetType = UNSET,
) -> ServiceView:
    key = s.key
    listen = ListenView(key.protocol, str(key.address), key.port)
    if key.mark:
        listen = ListenView(key.protocol, str(key.address), key.port, key.mark, key.version)
    return ServiceView(
        listen, s.scheduler, sorted(s.flags), servers, s.name, s.device, s.owner,
        s.persistent, s.netmask, s.engine, s.ops, s.table,
        [MatchView(match.network, match.protocol, match.ports) for match in s.match], stats, rates,
        s.health or UNSET, _plain(s.sorry_server, UNSET) if s.sorry_server else UNSET,
    )  # fmt: skip
