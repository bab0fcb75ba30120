"""Keeps verdicts on all servers, and says which services are to be put in force anew.

What a door asks for comes in by `want`, what servers answer by the prober; `judge` tells the engine what a service is
like at this moment.  Verdicts are kept on disk by whoever reads `remembered`, so that a daemon that starts again
neither drops nor revives a server before it has been asked.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from xlvs.health import policy
from xlvs.health.check import Check
from xlvs.health.family import parse
from xlvs.health.policy import ServerKey, View
from xlvs.health.prober import Prober, Question, question
from xlvs.health.verdict import Verdict, together
from xlvs.model import Server, Service, ServiceKey
from xlvs.model.health import Health

Place = tuple[ServiceKey, ServerKey]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change: of the state of a *server* (address and port), or of a service's quorum (*server* is empty)."""

    service: str
    server: str
    state: str
    why: str = ""


class ServerState(msgspec.Struct, frozen=True):
    """What is known of a server: *state* is up, down, unknown, unchecked, draining or drained.

    A draining server takes no new connections, a drained one has none left.  *since* is in seconds since 1970.
    """

    service: str
    server: str
    state: str
    weight: int
    since: float
    why: str
    checks: list[str]


class Checker:
    """*changed* is called with services whose servers are others now, *happened* with each event."""

    def __init__(
        self,
        changed: Callable[[set[ServiceKey]], None],
        happened: Callable[[Event, Service, Server | None], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._changed = changed
        self._happened = happened
        self._clock = clock
        self._services: dict[ServiceKey, Service] = {}
        self._asked: dict[ServiceKey, list[tuple[Question, ServerKey]]] = {}
        self._askers: dict[Question, set[Place]] = defaultdict(set)
        self._checks: dict[Question, Check] = {}
        self._verdicts: dict[Question, Verdict] = {}
        self._quorums: dict[ServiceKey, bool] = {}
        self._ramps: dict[Place, int] = {}
        self._maintained: dict[ServiceKey, frozenset[ServerKey]] = {}
        self.drained: dict[ServiceKey, set[ServerKey]] = defaultdict(set)
        """Who is drained by an operator; kept on disk with the verdicts."""
        self._empty: set[Place] = set()
        self._prober = Prober(self._told)

    def want(self, services: Mapping[ServiceKey, Service], keys: Iterable[ServiceKey] | None = None) -> bool:
        """Check the servers of these services, of which *keys* may be others than before; None: any.

        Returns whether anything else is asked now.
        """
        before = self._checks.keys() | set()
        for key in list(self._services.keys() | services.keys() | self.drained.keys()) if keys is None else keys:
            self._want_one(key, services.get(key))
        for one in [one for one, places in self._askers.items() if not places]:
            del self._askers[one], self._checks[one], self._verdicts[one]
        if keys is None:  # those of before that were never asked again
            self._verdicts = {one: self._verdicts[one] for one in self._checks}
        for key in self._services if keys is None else self._services.keys() & set(keys):
            self._look_at_quorum(key)
        return before != self._checks.keys()

    def _want_one(self, key: ServiceKey, service: Service | None) -> None:
        for one, known in self._asked.pop(key, []):
            self._askers[one].discard((key, known))
        if key in self.drained:
            self.drained[key] &= {server.key for server in service.servers} if service else set()
            if not self.drained[key]:
                del self.drained[key]
        if service is not None and self._has_say(service):
            self._services[key] = service
            self._asked[key] = asked = []
            for server in service.servers:
                for one, check in questions(service, server):
                    asked.append((one, server.key))
                    self._checks[one] = check
                    self._askers[one].add((key, server.key))
                    self._verdicts.setdefault(one, Verdict())
            self._quorums.setdefault(key, True)
        else:
            self._services.pop(key, None)
            self._quorums.pop(key, None)

    def begin(self) -> None:
        """Ask what is wanted; on the running loop."""
        self._prober.want((one, check) for one, check in self._checks.items() if check.asks)

    async def stop(self) -> None:
        """Ask nothing any more."""
        await self._prober.stop()

    def judge(self, service: Service) -> Service:
        """Return the service as it is to be put in force now."""
        if not self._has_say(service):
            return service
        return policy.effective(service, self._view(service), self._clock())

    def drain(self, service: Service, server: ServerKey, *, on: bool) -> None:
        """Let a server of a service take no new connections, or have it in service again."""
        drained = self.drained[service.key]
        if (server in drained) == on:
            return
        (drained.add if on else drained.discard)(server)
        self._services[service.key] = service
        self._quorums.setdefault(service.key, True)
        self._tell_drained(service, server, on=on)
        self._follow({service.key})

    def tick(self, connections: Callable[[Service, Server], int]) -> None:
        """Do what time does: weights that grow, files of maintenance, and drained servers that have become empty."""
        changed = set()
        self._look_at_drained(connections)
        for key, service in self._services.items():
            if service.health and service.health.slow_start:
                changed |= {key for server in service.servers if self._has_grown(service, server)}
            if service.health and service.health.maintenance:
                found = _maintained(service)
                if found != self._maintained.get(key, frozenset()):
                    self._maintained[key], before = found, self._maintained.get(key, frozenset())
                    for server in found ^ before:
                        self._tell_drained(service, server, on=server in found)
                    changed.add(key)
        self._follow(changed)

    def states(self) -> list[ServerState]:
        """Return what is known of every server that is checked."""
        return [self._state(service, server) for service in self._services.values() for server in service.servers]

    def remembered(self) -> list[tuple[Question, Verdict]]:
        """Return the verdicts, to be given to `recall` after a new start."""
        return [(one, verdict) for one, verdict in self._verdicts.items() if verdict.up is not None]

    def recall(self, found: Iterable[tuple[Question, Verdict]]) -> None:
        """Take verdicts of before; those that nobody asks for are forgotten with the next `want`."""
        self._verdicts.update({one: verdict._replace(streak=0) for one, verdict in found})

    def _view(self, service: Service) -> View:
        verdicts = {server.key: self._verdict(service, server) for server in service.servers}
        quorum = self._quorums.get(service.key, True)
        return View(verdicts, quorum, self._drained(service.key))

    def _drained(self, key: ServiceKey) -> frozenset[ServerKey]:
        return self._maintained.get(key, frozenset()) | self.drained.get(key, set())

    def _has_say(self, service: Service) -> bool:
        return policy.is_checked(service) or bool(self.drained.get(service.key))

    def _verdict(self, service: Service, server: Server) -> Verdict:
        verdicts = [self._verdicts.get(one, Verdict()) for one, _ in questions(service, server)]
        return together(verdicts, alpha=policy.is_alpha(server, service))

    def _told(self, one: Question, why: str, weight: int | None) -> None:
        check, before = self._checks.get(one), self._verdicts.get(one)
        if check is None or before is None:
            return
        places = {place: self._verdict_at(place) for place in self._askers[one]}
        after = before.after(why, weight, self._clock(), rise=check.rise, fall=check.fall)
        self._verdicts[one] = after
        changed = set()
        for (key, server), old in places.items():
            new = self._verdict_at((key, server))
            if (new.up, new.weight) != (old.up, old.weight):
                changed.add(key)
                self._tell(key, server, old, new)
        self._follow(changed)

    def _follow(self, changed: set[ServiceKey]) -> None:
        """Do what follows from servers that are others now."""
        for key in changed:
            self._look_at_quorum(key)
        if changed:
            self._changed(changed)

    def _verdict_at(self, place: Place) -> Verdict:
        service = self._services[place[0]]
        server = service.server(place[1])
        return self._verdict(service, server) if server else Verdict()

    def _tell(self, key: ServiceKey, server_key: ServerKey, old: Verdict, new: Verdict) -> None:
        service = self._services[key]
        server = service.server(server_key)
        if server is not None and new.up is not None and new.up != old.up:
            event = Event(service.name or key.id, str(server), "up" if new.up else "down", new.why)
            self._happened(event, service, server)

    def _tell_drained(self, service: Service, key: ServerKey, *, on: bool) -> None:
        self._empty.discard((service.key, key))
        server = service.server(key)
        if server is not None:
            state = "draining" if on else "in service"
            self._happened(Event(service.name or service.key.id, str(server), state), service, server)

    def _look_at_drained(self, connections: Callable[[Service, Server], int]) -> None:
        """Tell of drained servers that have no connections any more."""
        for key, service in self._services.items():
            for server in service.servers:
                place = key, server.key
                if server.key in self._drained(key) and place not in self._empty and not connections(service, server):
                    self._empty.add(place)
                    self._happened(Event(service.name or key.id, str(server), "drained"), service, server)

    def _look_at_quorum(self, key: ServiceKey) -> None:
        """Tell that the quorum was lost or gained."""
        service = self._services[key]
        before = self._quorums[key]
        now = self._quorums[key] = policy.has_quorum(service, self._view(service), self._clock())
        if before != now:
            self._happened(Event(service.name or key.id, "", "quorum up" if now else "quorum down"), service, None)

    def _has_grown(self, service: Service, server: Server) -> bool:
        step = policy.ramp(service, self._verdict(service, server), self._clock())
        before = self._ramps.get((service.key, server.key), policy.STEPS)
        self._ramps[service.key, server.key] = step
        return step != before

    def _state(self, service: Service, server: Server) -> ServerState:
        verdict = self._verdict(service, server)
        asked = [one for one, _ in questions(service, server)]
        state = {None: "unknown", True: "up", False: "down"}[verdict.up] if asked else "unchecked"
        if server.key in self._drained(service.key):
            state = "drained" if (service.key, server.key) in self._empty else "draining"
        judged = self.judge(service).server(server.key)
        return ServerState(
            service.name or service.key.id,
            str(server),
            state,
            judged.weight if judged else 0,
            verdict.since,
            verdict.why or next((self._verdicts[one].why for one in asked if self._verdicts[one].why), ""),
            [str(self._checks[one].plain()["type"]) for one in asked],
        )


def questions(service: Service, server: Server) -> list[tuple[Question, Check]]:
    """Return what is to be asked of a server, its own checks or else its service's."""
    own = server.health.checks if server.health else None
    plain: Iterable[dict[str, Any]] = (service.health or Health()).checks if own is None else own
    found = []
    for given in plain:
        check = _parsed(msgspec.json.encode(given, order="sorted"))
        found.append((question(check, str(server.address), server.port or service.key.port), check))
    return found


@lru_cache(4096)
def _parsed(text: bytes) -> Check:
    return parse(msgspec.json.decode(text))


def _maintained(service: Service) -> frozenset[ServerKey]:
    """Return the servers for which there is a file: ADDRESS or ADDRESS:PORT (ldirectord(8), maintenancedir)."""
    directory = Path(service.health.maintenance) if service.health else Path()
    try:
        names = {path.name for path in directory.iterdir()}
    except OSError:
        return frozenset()
    return frozenset(s.key for s in service.servers if not names.isdisjoint({str(s.address), str(s)}))
