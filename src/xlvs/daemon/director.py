"""One running instance: the engine and everything around it, on one asyncio loop.

Wires the parts together and decides nothing else: what clients and the
configuration file ask for goes to the engine, what the kernel tells to whom it
concerns, and a failure to the log.  Implements what the API needs of a daemon
(`xlvs.daemon.api.Director`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import xlvs
from xlvs import sched
from xlvs.config import differences
from xlvs.daemon import api, configuration
from xlvs.daemon.attach import Attachments
from xlvs.daemon.engine import Engine
from xlvs.daemon.health import Care
from xlvs.daemon.health.care import TICK_S, prepare
from xlvs.daemon.host import advice, memory, sysctls, systemd
from xlvs.daemon.host.devices import marks, segmenter
from xlvs.daemon.host.interfaces import Wish
from xlvs.daemon.host.netlink import Monitor, Netlink
from xlvs.daemon.host.routes import Routes
from xlvs.daemon.host.vips import Vips
from xlvs.daemon.kernel import Kernel
from xlvs.daemon.log import log
from xlvs.daemon.paths import Paths
from xlvs.daemon.purge import purge
from xlvs.daemon.server import Server as ApiServer
from xlvs.daemon.stats import SAMPLE_S, Fullness
from xlvs.daemon.store import Store
from xlvs.daemon.upgrade.handover import Handover
from xlvs.dataplane import Loaded
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.maglev import Filler
from xlvs.errors import InvalidError, XlvsError
from xlvs.health.checker import Event, ServerState
from xlvs.model import MARK, Address, Match, Server, Service, ServiceKey, State, defences
from xlvs.plan.matching import matches

ICMP_PER_SECOND = 1000
ACCEPT_LOCAL = "net.ipv4.conf.lo.accept_local"
COLLECT_S = 5
DEFEND_S = 1
"""As IPVS looks at memory (ip_vs_ctl.c, DEFENSE_TIMER_PERIOD)."""
PROBE_S = 20
LOOK_S = 1
"""A configuration file that is watched must stay the same for so long before it is read."""
ADVISED_AT_ONCE = 1000
STOP_S = 0.05
SETTLE_S = 0.1
"""How long to wait for more news from the kernel before acting on the first."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says: interfaces, the configuration file, the network namespace (empty: the caller's).

    With *watch* the file is read again when it has changed.
    """

    wish: Wish
    config: Path | None
    netns: str
    watch: bool = False


class Daemon:
    """Everything is made by the constructor, nothing is attached before `run`."""

    def __init__(self, paths: Paths, options: Options, loaded: Loaded) -> None:
        self._paths = paths
        self._options = options
        self._loaded = loaded
        self._netlink = Netlink()
        self._monitor = Monitor()
        self._kernel = Kernel(loaded.maps)
        routes = Routes(self._netlink, lambda address: self.engine.is_virtual(address))
        self.engine = Engine(self._kernel, Store(paths), routes, Filler(sched.fill, _fills_slowly))
        programs = {name: program.fd for name, program in loaded.programs.items()}
        marker, _ = marks.names(paths.name)
        self._attachments = Attachments(paths.links, programs, self._kernel, self._netlink, options.wish, marker)
        self._vips = Vips(self._netlink, paths.vips)
        self._server = ApiServer(paths.socket, self)
        self._care = Care(paths.health, self._rejudge, self._publish, self.engine.connections)
        self.engine.judge = self._care.judge
        self.engine.prepare = prepare
        self._stopping = asyncio.Event()
        self._pending: set[Callable[[], None]] = set()
        self._pause_s = SETTLE_S
        self._warned: set[str] = set()
        self._fullness = Fullness(self._kernel.count(abi.Counter.FLOW_FULL))
        self._told_full = False
        self._placed: set[tuple[str, Address]] = set()
        """The virtual addresses that are to be on interfaces."""
        self._needs = configuration.Needs()
        self._segmenter = 0
        self._marker = 0
        self._steered: frozenset[ServiceKey] | None = None
        self._matched: dict[ServiceKey, tuple[Match, ...]] | None = None
        """The services whose packets Netfilter brings to the marker; None: not known."""
        self._configured: tuple[dict[str, int], dict[str, str]] | None = None
        """The timeouts and sysctls that the programs know."""
        self._refused = ""
        """Why the configuration file is not in force."""

    async def run(self) -> None:
        """Work until a signal or a client says stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: _guarded(self.reload))
        adopted = bool(self._loaded.adopted)
        self._loaded.programs["xlvs_clock"].test_run(bytes(64))
        self._kernel.begin_table()
        handover = Handover(self._loaded, self._kernel)
        handover.begin()
        self._kernel.renew_hints()
        self.engine.start(adopted=adopted)
        self._begin_with_file()
        # From here on the maps are this build's: an older daemon is refused, and this one goes on if it dies.
        self._loaded.commit()
        if self._loaded.carried:
            log("maps of another build carried over", maps=",".join(sorted(self._loaded.carried)))
        # Services come first: a packet that a hook takes must find them, and each is whole when it appears.
        self._configure()
        self._loaded.programs["xlvs_sweep"].test_run(bytes(64))
        self._attachments.wish = self._wish()
        self._attachments.answers = self.engine.is_server()
        self._attachments.start()
        handover.finish()
        self._loaded.finish()
        self.changed()
        await self._server.start()
        log("ready", instance=self._paths.name, socket=self._paths.socket, adopted=adopted)
        systemd.notify("READY=1", f"STATUS={self._summary()}")
        loop.add_reader(self._monitor.fileno(), self._heard)
        tasks = [
            loop.create_task(self._every(SAMPLE_S, self.engine.sample)),
            loop.create_task(self._every(DEFEND_S, lambda elapsed: self._defend())),
            loop.create_task(self._every(COLLECT_S, lambda elapsed: self._collect())),
            loop.create_task(self._every(TICK_S, lambda elapsed: self._care.tick())),
            loop.create_task(self._every(PROBE_S, lambda elapsed: self._tend())),
        ]
        if self._options.config and self._options.watch:
            tasks.append(loop.create_task(self._every(LOOK_S, self._look_at(self._options.config))))
        await self._stopping.wait()
        systemd.notify("STOPPING=1")
        for task in tasks:
            task.cancel()
        await self._care.stop(self.engine.state)
        await self._server.stop()
        log("stopped", instance=self._paths.name)

    def reload(self) -> None:
        """Read the configuration file again and put it in force; raises `XlvsError`, and then all stays as it was."""
        if self._options.config is None:
            raise InvalidError("this daemon has no configuration file to read again; start it with --config FILE")
        systemd.notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            self._take_file(self._options.config)
            self.changed()
        except XlvsError as err:
            self._refused = f"{self._options.config} is not in force: {str(err).splitlines()[0]}"
            raise
        finally:
            systemd.notify("READY=1", f"STATUS={self._summary()}")

    def changed(self, keys: Collection[ServiceKey] | None = None) -> None:
        """Do what follows a change of the state, in which these services are others now; None: any."""
        state = self.engine.state
        self._needs.follow(state.services, keys)
        self._reconfigure()
        if state.services:
            _guarded(self._allow_local_clients)
            if not self._segmenter:
                _guarded(self._want_segmenter)
        if self._attachments.wish != self._wish():
            self._attachments.wish = self._wish()
            _guarded(self._attachments.sync)
        self._look_at_answers(keys)
        _guarded(self._want_marks)
        _guarded(self._want_matches)
        self._kernel.heed_calls(len(self._needs.engines))
        _guarded(self._want_vips)
        self._care.want(state, keys)
        if len(state.services) <= ADVISED_AT_ONCE:  # a look at a hundred thousand routes waits for the next round
            self._soon(self._advise)

    def stop(self, *, purge: bool) -> None:
        """End once the answer to this request is on its way; with *purge* remove every trace first."""
        if purge:
            self._purge()
        asyncio.get_running_loop().call_later(STOP_S, self._stopping.set)

    def sysctls(self) -> dict[str, str]:
        """Return the sysctls that are not at their default, as they are in force at this moment."""
        given = self.engine.state.sysctls
        return defences.in_force(given, memory.free_pages()) if defences.is_automatic(given) else given

    def _rejudge(self, keys: set[ServiceKey]) -> None:
        """Put the services in force as the health of their servers has it now."""
        self.engine.rejudge(keys)

    def _publish(self, event: Event) -> None:
        """Tell watchers what happened to a server."""
        self._server.tell(event, self.engine.state.generation)

    def _defend(self) -> None:
        """Begin or end what is automatic among the defences."""
        if defences.is_automatic(self.engine.state.sysctls):
            self._reconfigure()

    def _reconfigure(self) -> None:
        if self._configured != (self.engine.state.timeouts, self.sysctls()):
            self._configure()

    def facts(self) -> dict[str, Any]:
        """Return what there is to say of this process."""
        return {
            "instance": self._paths.name,
            "pid": os.getpid(),
            "version": xlvs.__version__,
            "netns": self._options.netns,
            "abi": abi.ABI,
            "config": str(self._options.config or ""),
        }

    def health(self) -> list[ServerState]:
        """Return what is known of the servers that are checked."""
        return self._care.states()

    def drain(self, service: Service, server: Server, *, on: bool) -> None:
        """Let a server take no new connections, until further notice; or have it in service again."""
        self._care.drain(service, server, on=on)

    def interfaces(self) -> list[dict[str, Any]]:
        """Return name, hook and why of each interface."""
        return self._attachments.rows()

    def warnings(self) -> list[str]:
        """Return what keeps the director from working as configured."""
        self._look_at_table()
        found = advice.warnings(self.engine.state, self.engine.routes, self._attachments.names(), sysctls.read)
        full = [Fullness.sentence(self._kernel.flows.room)] if self._fullness.full else []
        return [*([self._refused] if self._refused else []), *full, *self._vips.warnings(), *found]

    def _look_at(self, path: Path) -> Callable[[float], None]:
        """Return what is to be done every `LOOK_S`: read the file again if it has changed."""
        watch = configuration.Watch(path)

        def look(_elapsed: float) -> None:
            if watch.look():
                log("the configuration file has changed", file=path)
                self.reload()

        return look

    def _begin_with_file(self) -> None:
        """Put the file in force; over services that are in force already, one that is wrong is only a warning."""
        if self._options.config is None:
            return
        try:
            self._take_file(self._options.config)
        except XlvsError as err:
            if not self.engine.state.services:
                raise
            self._refused = f"{self._options.config} is not in force: {str(err).splitlines()[0]}"
            log("the configuration that was in force stays", why=err)

    def _take_file(self, path: Path) -> None:
        owner, have = configuration.owner_of(path), self.engine.state
        new = configuration.read(path, have)
        self._refused = ""
        if new == have:
            log("configuration read, nothing to change", file=path, generation=have.generation)
            return
        self.engine.apply(new)
        log("configuration put in force", file=path, generation=self.engine.state.generation)
        self._server.publish(api.Change(self.engine.state.generation, owner, list(differences(have, new))))

    def _wish(self) -> Wish:
        return configuration.wish(self.engine.state, self._options.wish)

    def _summary(self) -> str:
        state: State = self.engine.state
        return f"{len(state.services)} virtual services, generation {state.generation}"

    def _purge(self) -> None:
        self._vips.purge()
        self._attachments.detach_all()
        purge(self._paths)
        self._paths.lock.unlink(missing_ok=True)
        log("purged", instance=self._paths.name)

    def _configure(self) -> None:
        """Tell the programs what holds for the whole director."""
        timeouts, switches = self.engine.state.timeouts, self.sysctls()
        self._kernel.configure(timeouts, self._netlink.loopback(), ICMP_PER_SECOND, switches)
        self._configured = timeouts, switches

    def _allow_local_clients(self) -> None:
        """Let replies to clients on this host come from the virtual address, which is the host's own."""
        if sysctls.set_once(ACCEPT_LOCAL, "1", self._paths.sysctls):
            log("sysctl set for clients on this host", name=ACCEPT_LOCAL, value=1)

    def _look_at_answers(self, keys: Collection[ServiceKey] | None = None) -> None:
        """See what the host answers, while it is a real server behind nat itself; *keys* as for `changed`."""
        if self._attachments.answers != self.engine.is_server(None if self._attachments.answers else keys):
            self._attachments.answers = not self._attachments.answers
            _guarded(self._attachments.sync)

    def _want_segmenter(self) -> None:
        """Have a device that cuts GSO packets up, once a server needs it."""
        if self._needs.segments:
            self._segmenter = segmenter.make(self._paths.name)
            self._kernel.segment_by(self._segmenter)
            self._attachments.sync()

    def _want_marks(self) -> None:
        """Have packets with a firewall mark come to the walk while a service is by one."""
        left = {server[0] for server in self.engine.layout.retired}  # deleted, with flows
        marked = self._needs.marked | {key for key in left if key.protocol == MARK} - self._needs.matches.keys()
        keys = (frozenset(self.engine.state.services) | marked) - self._needs.matches.keys() if marked else frozenset()
        if keys == self._steered or (self._steered is None and not keys and not marks.is_there(self._paths.name)):
            self._steered = keys
            return
        if not keys:
            self._kernel.take_marked(0)
            marks.remove(self._paths.name)
            self._marker = 0
        else:
            if not self._marker:
                self._marker = marks.make(self._paths.name)
                self._attachments.sync()
            marks.steer(self._paths.name, keys)
            self._kernel.take_marked(self._marker)
        self._steered = keys

    def _want_matches(self) -> None:
        """Have packets get the firewall marks that services say; of a deleted service, until its flows are gone."""
        wanted = dict(self._needs.matches)
        left = {server[0] for server in self.engine.layout.retired}
        wanted |= {key: match for key, match in (self._matched or {}).items() if key in left - wanted.keys()}
        if wanted != self._matched:
            self._kernel.put_matches(*matches(wanted))
        self._matched = wanted

    def _advise(self) -> None:
        """Log the warnings that are new."""
        found = self.warnings()
        for warning in found:
            if warning not in self._warned:
                log("warning", why=warning)
        self._warned = set(found)

    def _want_vips(self) -> None:
        """Have the virtual addresses there that services name; those of deleted ones until their flows are gone."""
        state = self.engine.state
        wanted = set(self._needs.vips.values())
        left = {place for place in self._placed - wanted if self.engine.is_virtual(place[1])}
        if left:
            left -= {place for place in left if any(key.address == place[1] for key in state.services)}
        self._placed = wanted | left
        self._vips.want(self._placed)

    def _look_at_table(self) -> None:
        self._fullness.look(self._kernel.count(abi.Counter.FLOW_FULL), time.monotonic())

    def _tell_of_table(self) -> None:
        """Log that the flow table is full, once, and once that it has room again."""
        self._look_at_table()
        if self._told_full and not self._fullness.full:
            log("the flow table has room again", turned_away=self._fullness.turned_away)
        elif self._fullness.full and not self._told_full:
            self._advise()
        self._told_full = self._fullness.full

    def _collect(self) -> None:
        self._tell_of_table()
        self.engine.collect()
        self._look_at_answers()
        if self._steered:
            self._want_marks()
        if self._matched:
            self._want_matches()
        if self._placed:
            self._want_vips()

    def _heard(self) -> None:
        if self._monitor.drain():
            self._kernel.forget_hops()
            self._soon(self._react)

    def _react(self) -> None:
        self._attachments.sync()
        self._vips.sync()
        self.engine.refresh()
        self._look_at_answers()
        self._advise()

    def _tend(self) -> None:
        """Keep neighbours fresh, and notice what the kernel does not tell: a veth's peer that now takes redirects."""
        self._attachments.sync()
        self.engine.probe()
        self._advise()

    def _soon(self, act: Callable[[], None]) -> None:
        """Do *act* once when the news has settled."""
        if act not in self._pending:
            self._pending.add(act)
            asyncio.get_running_loop().call_later(self._pause_s, self._settled, act)

    def _settled(self, act: Callable[[], None]) -> None:
        self._pending.discard(act)
        if self._stopping.is_set():
            return
        began = time.monotonic()
        _guarded(act)
        # A router whose routes never settle takes a tenth of our time, no more.
        self._pause_s = max(SETTLE_S, 10 * (time.monotonic() - began))

    async def _every(self, seconds: float, act: Callable[[float], None]) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(seconds)
            now = time.monotonic()
            _guarded(partial(act, now - last))
            last = now


def _guarded(act: Callable[[], None]) -> None:
    """Do *act*; a failure is logged, and the daemon goes on."""
    try:
        act()
    except (XlvsError, OSError) as err:
        log("failed", why=err)


def _fills_slowly(why: Exception) -> None:
    log("tables of mh are filled without the kernel's help, which takes a hundred times as long", why=why)
