"""Joins the checker to the daemon.

Verdicts are on disk (`Paths.health`) at every moment, so that a daemon that starts puts the same servers in force that
were in force before, and asks them then.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from xlvs.daemon.health import notify
from xlvs.daemon.host.files import write_whole
from xlvs.daemon.log import log
from xlvs.errors import InvalidError, XlvsError
from xlvs.health.checker import Checker, Event, ServerState, questions
from xlvs.health.prober import Question
from xlvs.health.verdict import Verdict
from xlvs.model import Address, Server, Service, ServiceKey, State, codec

TICK_S = 1.0
SETTLE_S = 0.02
"""Verdicts that change within so little time change the maps together."""


def prepare(service: Service) -> None:
    """See that the service's checks and commands can be run on this host; raises `XlvsError`."""
    if service.health is None and not any(server.health for server in service.servers):
        return
    for server in service.servers:
        for _, check in questions(service, server):
            check.prepare()
    for text in notify.commands(service):
        notify.require(text)


class Kept(msgspec.Struct, omit_defaults=True):
    """What is on disk."""

    verdicts: list[tuple[Question, Verdict]] = []
    drained: list[tuple[ServiceKey, list[tuple[Address, int]]]] = []


class Care:
    """Cares for the servers of an engine's state.

    *rejudge* puts services in force anew, *publish* tells watchers, *connections* counts those of a server.
    """

    def __init__(
        self,
        path: Path,
        rejudge: Callable[[set[ServiceKey]], None],
        publish: Callable[[Event], None],
        connections: Callable[[Service, Server], int],
    ) -> None:
        self._path = path
        self._rejudge = rejudge
        self._publish = publish
        self._connections = connections
        self._checker = Checker(self._changed, self._happened)
        self._pending: set[ServiceKey] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._kept = b""
        self._recall()

    def judge(self, service: Service) -> Service:
        """Return the service as it is to be put in force at this moment."""
        return self._checker.judge(service)

    def want(self, state: State, keys: Collection[ServiceKey] | None = None) -> None:
        """Check what the state asks for from now on, in which *keys* are others than before; None: any."""
        if self._checker.want(state.services, keys):
            self._checker.begin()
            self._keep()

    def states(self) -> list[ServerState]:
        """Return what is known of the servers, and is in force."""
        self._settled()
        return self._checker.states()

    def drain(self, service: Service, server: Server, *, on: bool) -> None:
        """Let a server take no new connections, until further notice; or have it in service again."""
        self._checker.drain(service, server.key, on=on)
        self._settled()

    def tick(self) -> None:
        """Do what a second brings."""
        self._checker.tick(self._connections)

    async def stop(self, state: State) -> None:
        """Ask nothing any more; services with `omega` run their down commands (keepalived.conf(5))."""
        await self._checker.stop()
        for service in state.services.values():
            if service.health and service.health.omega:
                for server in service.servers:
                    self._happened(Event(service.name or service.key.id, str(server), "down", "omega"), service, server)
        if self._running:
            await asyncio.wait(self._running, timeout=notify.LONGEST_S)

    def _changed(self, keys: set[ServiceKey]) -> None:
        self._keep()
        if not self._pending:
            asyncio.get_running_loop().call_later(SETTLE_S, self._settled)
        self._pending |= keys

    def _settled(self) -> None:
        keys, self._pending = self._pending, set()
        try:
            if keys:
                self._rejudge(keys)
        except (XlvsError, OSError) as err:
            log("failed", why=err)

    def _happened(self, event: Event, service: Service, server: Server | None) -> None:
        log(f"health: {event.state}", service=event.service, server=event.server, why=event.why)
        self._publish(event)
        command = notify.command(event, service, server)
        if command:
            task = asyncio.get_running_loop().create_task(notify.run(command, event, service, server))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    def _keep(self) -> None:
        drained = [(key, list(servers)) for key, servers in self._checker.drained.items() if servers]
        content = codec.encode(Kept(self._checker.remembered(), drained))
        if content != self._kept:
            try:
                write_whole(self._path, content)
                self._kept = content
            except OSError as err:
                log("failed", why=f"the states of health cannot be kept: {err}")

    def _recall(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            content = self._path.read_bytes()
            try:
                kept = codec.decode(content, Kept)
                self._checker.recall(kept.verdicts)
                self._checker.drained.update({key: set(servers) for key, servers in kept.drained})
                self._kept = content
            except InvalidError as err:
                log("the states of health that were kept cannot be read; all begin anew", why=err)
