"""The desired state and the maps, kept together: a change is planned, prepared, put on disk, then put in force.

A change is a transaction: any number of services, all of it or none.  One that
cannot be written or kept is taken back, so that what a client was told is what
is in force.  Called from one thread, one request at a time.
"""

from __future__ import annotations

import contextlib
import errno
import gc
from collections.abc import Callable, Collection, Iterable, Iterator

import numpy as np
from msgspec.structs import replace

from xlvs import sched
from xlvs.daemon import fault
from xlvs.daemon import store as disk
from xlvs.daemon.host.routes import Routes
from xlvs.daemon.kernel import Kernel
from xlvs.daemon.log import log
from xlvs.daemon.stats import Counters
from xlvs.errors import XlvsError
from xlvs.model import MARK, Address, Server, Service, ServiceKey, State, sysctls
from xlvs.plan import records as r
from xlvs.plan import upkeep
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout
from xlvs.plan.matching import matches
from xlvs.plan.planner import Plan, Wants, plan

_MANY = 64

Judge = Callable[[Service], Service]

_FULL = {errno.E2BIG, errno.ENOSPC, errno.ENOMEM}


class Engine:
    """The director's state.  *kernel* holds the maps, *store* the disk, *routes* the way to the real servers.

    *fill* fills the tables of mh.
    """

    def __init__(self, kernel: Kernel, store: disk.Store, routes: Routes, fill: sched.Fill = sched.fill) -> None:
        self.kernel = kernel
        self.routes = routes
        self.state = State()
        self.layout = Layout(kernel.limits)
        self.counters = {
            "service": Counters(kernel.limits.services),
            "server": Counters(kernel.limits.servers),
        }
        self.judge: Judge = lambda service: service
        """What a service is to be like at this moment, by the health of its servers."""
        self.prepare: Callable[[Service], None] = lambda service: None
        """Raises `XlvsError` if the health of the service's servers cannot be looked after here."""
        self._store = store
        self._fill = sched.Filled(fill)
        self._baselines = disk.Baselines()
        self._counted = {"service": 0, "server": 0}
        self._retired: set[int] = set()
        self._disowned: set[int] = set()
        """Servers with flows from when they were a deleted service's."""
        self._broken = ""

    def start(self, *, adopted: bool) -> None:
        """Bring the maps in line with what is on disk; with nothing on disk, take what is in *adopted* maps."""
        outcome = self.kernel.settle() if adopted else ""
        self.layout = self.kernel.layout()
        kept = self._store.load()
        self.state = kept.state if kept.found else _state_of(self.layout)
        self.layout.last_weights.update({key: n for key, n in kept.last_weights.items() if n})
        if adopted:
            self._restore_baselines(kept.baselines)
        for kind, counters in self.counters.items():
            raw = self.kernel.stats(kind, len(counters)) if adopted else np.zeros((0, 5), np.int64)
            counters.begin(raw)
            self._counted[kind] = int(np.flatnonzero(raw.any(axis=1)).max(initial=-1)) + 1
        self._report(outcome, adopted=adopted)
        self._snapshot(self.state)
        gone = self.layout.services.keys() - self.state.services.keys()
        self._put_in_force({**dict.fromkeys(gone), **self.state.services}, self._epoch_for(self.state.generation))
        if adopted:
            self.refresh()  # routes may have changed while nobody listened
        self._write(upkeep.plan_addresses(self.layout, self.busy()))

    def _report(self, outcome: str, *, adopted: bool) -> None:
        """Say what became of a change that an earlier daemon did not finish."""
        generation = self.state.generation
        if adopted and generation and self.kernel.epoch() not in (0, r.epoch_of(generation)):
            log("an interrupted change was on disk already and is put in force now", generation=generation)
        elif outcome == "undone":
            log("an unfinished change was undone", in_force=generation)
        elif outcome:
            log("an interrupted change was in force and is tidied up", generation=generation)

    def _epoch_for(self, generation: int) -> int:
        """Return the epoch of *generation*, or another that no row waits for if that one is over."""
        epoch = r.epoch_of(generation)
        return epoch if epoch != self.kernel.epoch() else r.epoch_of(generation + r.EPOCHS // 2)

    def apply(self, new: State, keys: Collection[ServiceKey] | None = None) -> None:
        """Put *new* in force, all of it or nothing, as the next generation; raises `XlvsError`.

        *keys* are the services that may differ from the present state; None: compare all.
        """
        if self._broken:
            raise XlvsError(f"{self._broken}; restart the daemon, which repairs that, and ask again")
        if keys is None:
            keys = differing(self.state, new)
        for key in keys:
            if service := new.services.get(key):
                self.prepare(service)
        new = replace(new, generation=self.state.generation + 1)
        fault.begin(new.generation)
        with _no_collection(len(keys)):
            self._change(new, keys)

    def _change(self, new: State, keys: Collection[ServiceKey]) -> None:
        if any(new.services[key].match for key in keys if key in new.services):
            matches({service.key: service.match for service in new.services.values()})
        made = self._prepare({key: new.services.get(key) for key in keys}, r.epoch_of(new.generation))
        record = self._record(new, keys, made)
        whole = len(keys) > _MANY and len(keys) > len(new.services) // 2
        kept = whole
        try:
            self._keep(new, record, made, whole=whole)
            kept = True
            self._write(made.commit(self.kernel.sched_state))
        except (XlvsError, OSError):
            self._take_back(made, kept=kept, whole=whole)
            raise
        self.state = new
        self.layout.accept(made.change)
        self._disown(new, keys)
        self._baselines.update(record.baselines)
        self._finish(made)
        if made.fresh_servers:
            new_rows = self.layout.rows[made.fresh_servers[:_MANY]]
            self.routes.probe([Address(address) for address in r.as_bytes(new_rows["addr"])])
        if self._store.full:
            self._snapshot(self.state)

    def rejudge(self, keys: Collection[ServiceKey]) -> None:
        """Put in force what the health of their servers makes of these services; raises `XlvsError`.

        The desired state, and so its generation, stays as it is.
        """
        wants = {key: self.state.services[key] for key in keys if key in self.state.services}
        differ = {key for key, want in wants.items() if self.judge(want) != self.layout.services[key].service}
        if differ:
            self._put_in_force({key: wants[key] for key in differ}, self._epoch_for(self.state.generation))

    def zero(self, keys: Iterable[ServiceKey]) -> None:
        """Let the counters of these services and their servers start from zero; raises `HostError`."""
        placed = [self.layout.services[key] for key in keys]
        zeroed = disk.Baselines(
            self._zero("service", [one.id for one in placed]),
            self._zero("server", [number for one in placed for number in one.numbers]),
        )
        self._store.append(disk.Record(generation=self.state.generation, baselines=zeroed))
        self._baselines.update(zeroed)

    def refresh(self) -> None:
        """Let every server have the director's address that the routes say now."""
        self.routes.forget()
        addresses = {Address(a) for a in self.layout.rows["addr"][self.layout.rows["proto"] != 0].tolist()}
        self._write(upkeep.plan_sources(self.layout, self.routes.sources(addresses)))

    def probe(self) -> None:
        """Have the next hops of real servers kept resolved, so that XDP finds them; a part of them each time."""
        self.routes.tend(lambda: {server.address for s in self.state.services.values() for server in s.servers})

    def collect(self) -> None:
        """Give back what deleted servers and services held, once their flows are gone for two rounds."""
        if not self.layout.retired and not self.layout.stale:
            return
        busy = self.busy()
        retired = self.layout.retired_numbers() - busy
        writes, servers = upkeep.plan_garbage(self.layout, busy | (retired - self._retired))
        self._write(writes)
        self.layout.forget(servers)
        self._retired = retired
        self._write(upkeep.plan_addresses(self.layout, busy))

    def sample(self, elapsed_s: float) -> None:
        """Take a sample for the rates; none while run_estimation is 0, and what they were then stays."""
        if not sysctls.value(self.state.sysctls, "run_estimation"):
            return
        for kind, counters in self.counters.items():
            counters.sample(self.kernel.stats(kind, self.end(kind)), elapsed_s)

    def end(self, kind: str) -> int:
        """Return one more than the highest number of a service or server (*kind*) ever taken."""
        return (self.layout.free_ids if kind == "service" else self.layout.free_numbers).end

    def busy(self) -> set[int]:
        """Return the numbers of the servers that have flows."""
        loads = self.kernel.loads(self.layout.free_numbers.end)
        return set(np.flatnonzero(loads.any(axis=1)).tolist())

    def connections(self, service: Service, server: Server) -> int:
        """Return how many connections are in use at a server; of UDP, and so of a mark, also those that may be."""
        number = self.layout.number(service.key, *server.key)
        active, inactive, _ = (0, 0, 0) if number is None else self.kernel.load(number)
        return active if service.key.protocol in ("tcp", "sctp") else active + inactive

    def is_server(self, keys: Collection[ServiceKey] | None = None) -> bool:
        """Return whether the director itself is a real server behind nat, of these services or of any.

        Of any: also of one that is deleted and has flows left.
        """
        if keys is None:
            rows = self.layout.rows[: self.end("server")]
        else:
            placed = [self.layout.services[key] for key in keys if key in self.layout.services]
            rows = self.layout.rows[r.numbers([number for one in placed for number in one.numbers])]
        found = (rows["proto"] != 0) & (rows["fwd"] == r.NAT)
        return bool((found & (rows["src"] == rows["addr"])).any())

    def is_virtual(self, address: Address) -> bool:
        """Return whether *address* is a virtual one, or has flows left from when it was."""
        return bool(self.layout.addresses.get(address, 0) & r.VIP)

    def _prepare(self, wants: Wants, epoch: int) -> Plan:
        """Plan, and put everything where no packet looks yet."""
        wants = {key: self.judge(want) if want else None for key, want in wants.items()}
        self._claim({key.address for key, want in wants.items() if want and key.protocol != MARK})
        addresses = {s.address for want in wants.values() if want for s in want.servers}
        made = plan(self.layout, wants, self.routes.sources(addresses), epoch, self._fill)
        try:
            self._write(made.prepare)
        except (XlvsError, OSError):
            self._undo(made)
            raise
        return made

    def _put_in_force(self, wants: Wants, epoch: int) -> None:
        """Do what the disk says already."""
        made = self._prepare(wants, epoch)
        if made:
            self._write(made.commit(self.kernel.sched_state))
            self.layout.accept(made.change)
            self._finish(made)
        if self.state.generation:
            self._write([w.Turn(r.epoch_of(self.state.generation))])

    def _keep(self, new: State, record: disk.Record, made: Plan, *, whole: bool) -> None:
        """Put the change on disk: a large one as a new snapshot."""
        fault.point()
        if whole:
            baselines = disk.Baselines(dict(self._baselines.services), dict(self._baselines.servers))
            baselines.update(record.baselines)
            self._store.snapshot(new, baselines, {**self.layout.last_weights, **made.change.last_weights})
        else:
            self._store.append(record)

    def _take_back(self, made: Plan, *, kept: bool, whole: bool) -> None:
        """Undo a change that was prepared, and perhaps *kept* on disk."""
        self._undo(made)
        try:
            if whole:
                self._snapshot(self.state)
            elif kept:
                self._store.take_back()
        except XlvsError as err:
            self._broken = f"a failed change is on disk and cannot be taken off it ({err})"

    def _undo(self, made: Plan) -> None:
        try:
            self._write(made.undo)
        except (XlvsError, OSError) as err:
            self._broken = f"a failed change left the maps half prepared ({err})"
            log("failed", why=self._broken)

    def _finish(self, made: Plan) -> None:
        """Remove what nothing looks at any more."""
        try:
            self._write(made.tidy)
        except (XlvsError, OSError) as err:
            self._broken = f"the maps could not be tidied up after the last change ({err})"
            log("failed", why=self._broken)
        fault.point()

    def _claim(self, addresses: Iterable[Address]) -> None:
        """Make *addresses* virtual ones: from now on they are nobody's source."""
        fresh = [address for address in addresses if not self.is_virtual(address)]
        if not fresh:
            return
        self._write(upkeep.claim(self.layout, fresh))
        if not upkeep.sources_in_use(self.layout.rows[: self.end("server")]).isdisjoint(fresh):
            self.refresh()

    def _write(self, writes: Iterable[w.Write]) -> None:
        for write in writes:
            fault.point()
            try:
                self.kernel.write(write)
            except OSError as err:
                why = "has no room for it" if err.errno in _FULL else "refuses it"
                what = getattr(write, "name", type(write).__name__)
                raise XlvsError(f"the kernel {why}: {what}: {err.strerror}") from err

    def _record(self, new: State, keys: Collection[ServiceKey], made: Plan) -> disk.Record:
        """Return what the journal says of the change."""
        record = disk.Record(
            generation=new.generation,
            put=[new.services[key] for key in keys if key in new.services],
            drop=[key for key in keys if key not in new.services],
            last_weights=disk.weights(made.change.last_weights),
            baselines=disk.Baselines(
                self._renew("service", {*made.fresh_services, *self._new_ids(new, made)}),
                self._renew("server", {*made.fresh_servers, *self._returned(made)}),
            ),
        )
        if new.timeouts != self.state.timeouts:
            record.timeouts = new.timeouts
        if new.sysctls != self.state.sysctls:
            record.sysctls = new.sysctls
        if new.interfaces != self.state.interfaces:
            record.interfaces = new.interfaces
        return record

    def _new_ids(self, new: State, made: Plan) -> set[int]:
        """Return the numbers of services that are added, also where one that was deleted had the same."""
        placed = made.change.placed.items()
        return {one.id for key, one in placed if one and key in new.services and key not in self.state.services}

    def _returned(self, made: Plan) -> set[int]:
        """Return the servers that come back to another service than they left: they count from zero."""
        return {n for one in made.change.placed.values() if one for n in one.numbers}.intersection(self._disowned)

    def _disown(self, new: State, keys: Collection[ServiceKey]) -> None:
        """Note the servers of services that are deleted, of whom some have flows, and those that are another's now."""
        for key in keys:
            if key in new.services:
                self._disowned.difference_update(self.layout.services[key].numbers)
        gone = {key for key in keys if key not in new.services}
        if gone:
            self._disowned |= {number for (key, *_), number in self.layout.retired.items() if key in gone}

    def _renew(self, kind: str, numbers: Iterable[int]) -> dict[int, disk.Counters]:
        """Let numbers that get a new owner count from zero; return the baselines of those that have counted before."""
        # A number beyond all that ever were has counted nothing.
        end = max(self._counted[kind], self.end(kind))
        numbers = [number for number in numbers if number < end]
        known: dict[int, disk.Counters] = getattr(self._baselines, f"{kind}s")
        zeroed = self._zero(kind, numbers)
        return {number: values for number, values in zeroed.items() if values != known.get(number)}

    def _zero(self, kind: str, numbers: list[int]) -> dict[int, disk.Counters]:
        chosen = r.numbers(numbers)
        return self.counters[kind].zero(chosen, self.kernel.some_stats(kind, chosen))

    def _restore_baselines(self, baselines: disk.Baselines) -> None:
        self._baselines = baselines
        for kind, values in (("service", baselines.services), ("server", baselines.servers)):
            for number, baseline in values.items():
                if number < len(self.counters[kind]):
                    self.counters[kind].set_baseline(number, baseline)

    def _snapshot(self, state: State) -> None:
        self._store.snapshot(state, self._baselines, self.layout.last_weights)


@contextlib.contextmanager
def _no_collection(changes: int) -> Iterator[None]:
    """Keep the cycle collector from going through a large change again and again while it is being made."""
    if changes < _MANY or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def differing(have: State, want: State) -> list[ServiceKey]:
    """Return the services in which two states differ."""
    changed = [key for key, service in want.services.items() if have.services.get(key) != service]
    return [*(key for key in have.services if key not in want.services), *changed]


def _state_of(layout: Layout) -> State:
    """Return the state that a layout puts in force: what there is to go by when the disk has nothing."""
    if layout.services:
        log("services taken over from the maps", count=len(layout.services))
    return State({key: placed.service for key, placed in layout.services.items()})
