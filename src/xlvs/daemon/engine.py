"""The desired state and the maps, kept together: every change is planned, written, put on disk, and only then true.

A change that cannot be written or kept is taken back, so that what a client
was told is what is in force.  Called from one thread, one request at a time.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator

import numpy as np

from xlvs.daemon import store as disk
from xlvs.daemon.host.routes import Routes
from xlvs.daemon.kernel import Kernel
from xlvs.daemon.log import log
from xlvs.daemon.stats import Counters
from xlvs.errors import XlvsError
from xlvs.model import Server, Service, ServiceKey, State
from xlvs.model.server import Address
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout
from xlvs.plan.planner import plan_addresses, plan_delete, plan_garbage, plan_service

_FULL = {errno.E2BIG, errno.ENOSPC, errno.ENOMEM}


class Engine:
    """The director's state.  *kernel* holds the maps, *store* the disk, *routes* the way to the real servers."""

    def __init__(self, kernel: Kernel, store: disk.Store, routes: Routes) -> None:
        self.kernel = kernel
        self.routes = routes
        self.state = State()
        self.layout = Layout(kernel.limits)
        self.counters = {
            "service": Counters(kernel.limits.services),
            "server": Counters(kernel.limits.servers),
        }
        self._store = store
        self._baselines = disk.Baselines()
        self._retired: set[int] = set()

    def start(self, *, adopted: bool) -> None:
        """Bring the maps in line with what is on disk; with nothing on disk, take what is in *adopted* maps."""
        self.layout = self.kernel.layout()
        kept = self._store.load()
        self.state = kept.state if kept.found else state_of(self.layout)
        self.layout.last_weights.update({key: n for key, n in kept.last_weights.items() if n})
        if adopted:
            self._restore_baselines(kept.baselines)
        for kind, counters in self.counters.items():
            counters.begin(self.kernel.stats(kind, self.end(kind)))
        self._snapshot()
        for key in self.layout.services.keys() - self.state.services.keys():
            self._bring(key, None)
        for service in self.state.services.values():
            self._bring(service.key, service)
        self._write(plan_addresses(self.layout, self.busy()))

    def change(self, new: State, key: ServiceKey) -> None:
        """Put in force what *new* says about the service *key*; raises `XlvsError`, and then nothing has changed."""
        service = new.services.get(key)
        with self._taken_back([key]):
            self._bring(key, service)
            last = self.layout.last_weights
            self._store.append(disk.put_service(service, last) if service else disk.drop_service(key))
        self.state = new
        if self._store.full:
            self._snapshot()

    def flush(self) -> None:
        """Delete every service; raises `XlvsError`, and then nothing has changed."""
        with self._taken_back(self.state.services):
            for key in self.state.services:
                self._bring(key, None)
            self._snapshot(State(timeouts=self.state.timeouts))
        self.state = State(timeouts=self.state.timeouts)

    def zero(self, keys: Iterable[ServiceKey]) -> None:
        """Let the counters of these services and their servers start from zero; raises `HostError`."""
        zeroed = disk.Baselines()
        for key in keys:
            row = self.layout.services[key]
            zeroed.services[row.id] = self._zero("service", row.id)
            zeroed.servers.update({number: self._zero("server", number) for number, _ in row.slots})
        self._keep_baselines(zeroed)

    def refresh(self) -> None:
        """Let every server have the director's address that the routes say now."""
        self.routes.forget()
        for service in self.state.services.values():
            self._bring(service.key, service)

    def probe(self) -> None:
        """Have the next hops of all real servers resolved, so that XDP finds them."""
        self.routes.probe({server.address for s in self.state.services.values() for server in s.servers})

    def collect(self) -> None:
        """Give back what deleted servers and services held, once their flows are gone for two rounds."""
        busy = self.busy()
        retired = self.layout.retired() - busy
        self._write(plan_garbage(self.layout, busy | (retired - self._retired)))
        self._retired = retired
        self._write(plan_addresses(self.layout, busy))

    def sample(self, elapsed_s: float) -> None:
        """Take a sample for the rates."""
        for kind, counters in self.counters.items():
            counters.sample(self.kernel.stats(kind, self.end(kind)), elapsed_s)

    def end(self, kind: str) -> int:
        """Return one more than the highest number of a service or server (*kind*) ever taken."""
        return (self.layout.free_ids if kind == "service" else self.layout.free_numbers).end

    def busy(self) -> set[int]:
        """Return the numbers of the servers that have flows."""
        loads = self.kernel.loads(self.layout.free_numbers.end)
        return set(np.flatnonzero(loads.any(axis=1)).tolist())

    def is_virtual(self, address: Address) -> bool:
        """Return whether *address* is a virtual one, or has flows left from when it was."""
        return bool(self.layout.addresses.get(address, 0) & w.ADDRESS_VIP)

    @contextlib.contextmanager
    def _taken_back(self, keys: Iterable[ServiceKey]) -> Iterator[None]:
        """Bring the services *keys* back to the present state if what is done inside fails."""
        try:
            yield
        except (XlvsError, OSError):
            try:
                for key in keys:
                    self._bring(key, self.state.services.get(key))
            except XlvsError as err:
                log("a failed change could not be taken back before the next start", why=err)
            raise

    def _bring(self, key: ServiceKey, want: Service | None) -> None:
        """Plan and write one service."""
        if want is None:
            if key in self.layout.services:
                self._write(plan_delete(self.layout, key))
            return
        self._claim(key.address)
        sources = {server.address: self.routes.source(server.address) for server in want.servers}
        self._write(plan_service(self.layout, want, sources, self.kernel.sched_state))

    def _claim(self, address: Address) -> None:
        """Make *address* a virtual one: from now on it is nobody's source."""
        if self.is_virtual(address):
            return
        was_source = self.layout.needed(address) & w.ADDRESS_DIRECTOR
        self._write([w.PutAddress(address, self.layout.addresses.get(address, 0) | w.ADDRESS_VIP)])
        if was_source:
            self.refresh()

    def _write(self, writes: Iterable[w.Write]) -> None:
        for write in writes:
            self._before(write)
            try:
                self.kernel.write(write)
            except OSError as err:
                why = "has no room for it" if err.errno in _FULL else "refuses it"
                raise XlvsError(f"the kernel {why}: {type(write).__name__}: {err.strerror}") from err
            self.layout.note(write)

    def _before(self, write: w.Write) -> None:
        """Let a number that gets a new owner count from zero."""
        match write:
            case w.PutServer(number, _) if number not in self.layout.servers:
                self._renew("server", number)
            case w.PutService(key, row) if key not in self.layout.services:
                self._renew("service", row.id)

    def _renew(self, kind: str, number: int) -> None:
        values = self._zero(kind, number)
        known = getattr(self._baselines, f"{kind}s").get(number)
        if any(values) and values != known:
            self._keep_baselines(disk.Baselines(**{f"{kind}s": {number: values}}))

    def _zero(self, kind: str, number: int) -> disk.Counters:
        return self.counters[kind].zero(number, self.kernel.stat(kind, number))

    def _keep_baselines(self, baselines: disk.Baselines) -> None:
        self._store.append(disk.put_baselines(baselines))
        self._baselines.services.update(baselines.services)
        self._baselines.servers.update(baselines.servers)

    def _restore_baselines(self, baselines: disk.Baselines) -> None:
        self._baselines = baselines
        for kind, values in (("service", baselines.services), ("server", baselines.servers)):
            for number, baseline in values.items():
                if number < len(self.counters[kind]):
                    self.counters[kind].set_baseline(number, baseline)

    def _snapshot(self, state: State | None = None) -> None:
        self._store.snapshot(self.state if state is None else state, self._baselines, self.layout.last_weights)


def state_of(layout: Layout) -> State:
    """Return the state that a layout puts in force: what there is to go by when the disk has nothing."""
    services = {}
    for key, row in layout.services.items():
        rows = [layout.servers[number] for number, _ in reversed(row.slots)]
        servers = tuple(Server(r.address, r.port, r.forward, r.weight) for r in rows)
        services[key] = Service(key, row.scheduler, row.flags, servers)
    if services:
        log("services taken over from the maps", count=len(services))
    return State(services)
