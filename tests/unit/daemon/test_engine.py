"""The engine: what clients were told is what is in the maps and on disk, whatever fails in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.daemon.fake import FakeKernel, FakeRoutes, engine, paths
from tests.unit.plan.fake import Shown
from xlvs.daemon import views
from xlvs.daemon.engine import Engine
from xlvs.errors import HostError, XlvsError
from xlvs.model import Address, Server, Service, ServiceKey, State, codec
from xlvs.plan import writes as w

VIP = Address.parse("192.0.2.1")
WEB = ServiceKey("tcp", VIP, 80)
DNS = ServiceKey("udp", VIP, 53)


def server(host: int, weight: int = 1, forward: str = "nat") -> Server:
    """Return the real server 10.0.0.*host*."""
    return Server(Address.parse(f"10.0.0.{host}"), 80, forward, weight)


def add(director: Engine, *servers: Server, key: ServiceKey = WEB, scheduler: str = "wlc") -> None:
    """Add a service with these servers, as a client would: one change after the other."""
    director.apply(director.state.add_service(Service(key, scheduler)), [key])
    for one in servers:
        director.apply(director.state.add_server(key, one), [key])


def counts(director: Engine) -> tuple[list[int], list[list[int]]]:
    """Return the connections that users see: of each service, and of each server of each service."""
    listing = codec.to_builtins(views.services(director, "all"))
    return (
        [service["stats"]["conns"] for service in listing],
        [[one["stats"]["conns"] for one in service["servers"]] for service in listing],
    )


def test_a_restart_finds_what_was_in_force(tmp_path: Path) -> None:
    """A new engine over the same maps and disk has the same state and writes nothing."""
    kernel = FakeKernel()
    before = engine(tmp_path, kernel)
    add(before, server(1), server(2, 3), scheduler="mh")
    kernel.made.clear()
    after = engine(tmp_path, kernel, adopted=True)
    assert after.state == before.state
    assert [write for write in kernel.made if not isinstance(write, w.Turn)] == []


def test_a_reboot_puts_the_same_in_force_again(tmp_path: Path) -> None:
    """Empty maps are filled from the disk."""
    before = engine(tmp_path, FakeKernel())
    add(before, server(1), server(2, 3))
    kernel = FakeKernel()
    assert engine(tmp_path, kernel).state == before.state
    assert kernel.shown(WEB) == [("10.0.0.2", 80, "nat", 3), ("10.0.0.1", 80, "nat", 1)]


def test_maps_without_a_disk_are_taken_over(tmp_path: Path) -> None:
    """If the configuration is lost, the maps say what it was."""
    kernel = FakeKernel()
    before = engine(tmp_path / "one", kernel)
    add(before, server(1), server(2, 3), scheduler="sh")
    found = engine(tmp_path / "two", kernel, adopted=True).state
    assert found.services == before.state.services


def test_maps_that_differ_from_the_disk_are_brought_in_line(tmp_path: Path) -> None:
    """A daemon that was killed between maps and disk leaves the old state for the next one."""
    kernel = FakeKernel()
    add(engine(tmp_path, kernel), server(1))
    stray = engine(tmp_path / "elsewhere", kernel, adopted=True)
    stray.apply(stray.state.add_server(WEB, server(2)), [WEB])
    add(stray, server(3), key=DNS)
    engine(tmp_path, kernel, adopted=True)
    assert kernel.shown(WEB) == [("10.0.0.1", 80, "nat", 1)]
    assert DNS not in kernel.services()


@pytest.mark.parametrize("name", ["addrs", "servers", "slots", "sched_state", "services", "tables"])
def test_a_write_that_fails_changes_nothing(tmp_path: Path, name: str) -> None:
    """Whichever write the kernel refuses, the client is told, and state, maps and disk are as before."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1), scheduler="sh")
    state, before = director.state, kernel.in_force()
    both = state.add_server(WEB, server(2)).add_service(Service(DNS, "sh", servers=(server(3),)))
    refuse_once(kernel, name)
    with pytest.raises(XlvsError, match="no room"):
        director.apply(both)
    assert director.state is state
    assert kernel.in_force() == before
    assert engine(tmp_path, kernel, adopted=True).state == state
    director.apply(both)
    assert [one.address for one in kernel.shown(WEB)] == ["10.0.0.2", "10.0.0.1"]


def refuse_once(kernel: FakeKernel, name: str) -> None:
    """Make the next write to a map fail, and only that: what takes it back succeeds."""
    write = kernel.write

    def refuse(one: w.Write) -> None:
        if getattr(one, "name", "tables") == name:
            kernel.write = write  # type: ignore[method-assign]
            raise OSError(7, "Argument list too long")
        write(one)

    kernel.write = refuse  # type: ignore[method-assign]


class DiedError(BaseException):
    """The daemon was killed here."""


def die_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Have the daemon die at the *number*th point, counted from now."""
    left = [number]

    def point() -> None:
        left[0] -= 1
        if not left[0]:
            raise DiedError

    monkeypatch.setattr("xlvs.daemon.fault.point", point)


def force(state: State) -> dict[ServiceKey, tuple[str, list[Shown]]]:
    """Return what packets find when *state* is in force."""
    return {
        key: (s.scheduler, [Shown(str(o.address), o.port, o.forward, o.weight) for o in reversed(s.servers)])
        for key, s in state.services.items()
    }


@pytest.mark.parametrize("many", [0, 200])
@pytest.mark.parametrize("number", range(1, 18))
def test_a_daemon_killed_at_any_write_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, many: int
) -> None:
    """Packets find all of a change of many services or none, before the next start and after it, which says so."""
    kernel = FakeKernel(services=512, servers=512, blocks=512)
    director = engine(tmp_path, kernel)
    add(director, server(1), server(2), scheduler="sh")
    old = director.state
    new = old.delete_server(WEB, server(1).key).edit_server(WEB, server(2, 7, "route"))
    new = new.add_service(Service(DNS, "wrr", servers=(server(3, 4), server(4, 2))))
    for port in range(1000, 1000 + many):
        new = new.add_service(Service(ServiceKey("tcp", VIP, port), servers=(server(9),)))
    capsys.readouterr()
    with monkeypatch.context() as patch:
        die_at(patch, number)
        try:
            director.apply(new)
        except DiedError:
            left = kernel.in_force()
        else:
            assert number > 12, "fewer points than writes"
            return
    assert left in (force(old), force(new))
    after = engine(tmp_path, kernel, adopted=True).state
    assert after.services in (old.services, new.services)
    assert kernel.in_force() == force(after)
    said = capsys.readouterr().err
    if left != force(after):
        assert "an interrupted change was on disk already and is put in force now" in said
    again = engine(tmp_path, kernel, adopted=True)
    assert again.state == after


def test_a_change_has_the_next_generation(tmp_path: Path) -> None:
    """Every change counts, a refused one does not, and a restart goes on counting."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    assert director.state.generation == 2
    refuse_once(kernel, "servers")
    with pytest.raises(XlvsError):
        director.apply(director.state.add_server(WEB, server(2)))
    assert engine(tmp_path, kernel, adopted=True).state.generation == 2


def test_a_full_disk_takes_the_change_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be kept is not in force either."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", full)
        with pytest.raises(HostError, match="No space left"):
            director.apply(director.state.add_server(WEB, server(2)), [WEB])
    assert kernel.shown(WEB) == [("10.0.0.1", 80, "nat", 1)]
    director.apply(director.state.add_server(WEB, server(3)), [WEB])
    assert engine(tmp_path, kernel, adopted=True).state == director.state


def test_zeroed_counters_stay_zeroed_after_a_restart(tmp_path: Path) -> None:
    """The kernel's counters are never written, yet users see them begin at zero, and a restart remembers."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    add(director, server(1), key=DNS)
    for kind in ("service", "server"):
        kernel.raw[kind][0][0], kernel.raw[kind][1][0] = 7, 9
    director.zero([WEB])
    assert counts(director) == ([0, 9], [[0], [9]])
    kernel.raw["server"][0][0] = 10
    assert counts(engine(tmp_path, kernel, adopted=True)) == ([0, 9], [[3], [9]])


def test_a_reboot_forgets_what_was_zeroed(tmp_path: Path) -> None:
    """New maps count from zero, so old baselines mean nothing."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    kernel.raw["server"][0][0] = 7
    director.zero([WEB])
    fresh = FakeKernel()
    director = engine(tmp_path, fresh)
    fresh.raw["server"][0][0] = 2
    assert counts(director) == ([0], [[2]])


def test_a_number_that_is_used_again_counts_from_zero(tmp_path: Path) -> None:
    """A new server does not inherit the counters of the one that had its number."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    kernel.raw["server"][0][0] = kernel.raw["service"][0][0] = 7
    director.apply(State())
    director.collect()
    director.collect()
    kernel.limits = kernel.limits.__class__(1, 1, 64)
    director = engine(tmp_path, kernel, adopted=True)
    add(director, server(2))
    assert director.layout.number(WEB, server(2).address, 80) == 0
    assert counts(director) == ([0], [[0]])
    assert counts(engine(tmp_path, kernel, adopted=True)) == ([0], [[0]])


def test_a_server_that_comes_back_keeps_its_counters(tmp_path: Path) -> None:
    """Deleted and added again while it has flows, a server goes on counting."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    kernel.raw["server"][0][0] = 7
    kernel.flows[0] = 1
    director.apply(director.state.delete_server(WEB, server(1).key), [WEB])
    for _ in range(3):
        director.collect()
    director.apply(director.state.add_server(WEB, server(1)), [WEB])
    assert counts(director) == ([0], [[7]])


def test_a_service_that_comes_back_counts_from_zero(tmp_path: Path) -> None:
    """With its servers, also while they have flows from before (ip_vs_add_dest: the service is another)."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    kernel.raw["server"][0][0] = kernel.raw["service"][0][0] = 7
    kernel.flows[0] = 1
    director.apply(State())
    add(director, server(1))
    assert counts(director) == ([0], [[0]])
    assert counts(engine(tmp_path, kernel, adopted=True)) == ([0], [[0]])


def test_garbage_waits_for_a_second_look(tmp_path: Path) -> None:
    """A number is given back only when its server was without flows twice in a row: a CPU may just be opening one."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    director.apply(State())
    director.collect()
    assert kernel.numbers() == [0]
    director.collect()
    assert kernel.numbers() == []


def test_a_virtual_address_is_never_a_source(tmp_path: Path) -> None:
    """When the director's address towards a server becomes a virtual one, another one is looked for at once."""
    kernel, routes = FakeKernel(), FakeRoutes()
    director = engine(tmp_path, kernel, routes=routes)
    routes.own = Address.parse("192.0.2.2")
    add(director, server(1, forward="route"))
    assert bytes(director.layout.rows["src"][0]) == routes.own
    virtual, routes.own = routes.own, Address.parse("192.0.2.3")
    add(director, key=ServiceKey("tcp", virtual, 80))
    assert bytes(director.layout.rows["src"][0]) == routes.own


def test_a_drained_servers_last_weight_survives_a_reboot(tmp_path: Path) -> None:
    """The Maglev table of a service with a drained server is the same after a reboot."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1, 3), server(2), scheduler="mh")
    director.apply(director.state.edit_server(WEB, server(1, 0)), [WEB])
    fresh = FakeKernel()
    engine(tmp_path, fresh)
    index = [int(one.services()[WEB]["index"]) for one in (fresh, kernel)]
    assert fresh.tables[index[0]] == kernel.tables[index[1]]


def test_the_journal_becomes_a_snapshot_when_it_has_outgrown_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many changes do not make the journal longer and longer, and none is lost."""
    monkeypatch.setattr("xlvs.daemon.store._MIN_JOURNAL", 2000)
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    for weight in range(100):
        director.apply(director.state.edit_server(WEB, server(1, weight)), [WEB])
        assert paths(tmp_path).journal.stat().st_size < 2500
    assert engine(tmp_path, kernel, adopted=True).state == director.state


def test_a_flush_that_cannot_be_kept_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either every service goes, on disk as well, or none."""
    kernel = FakeKernel()
    director = engine(tmp_path, kernel)
    add(director, server(1))
    add(director, server(2), key=DNS)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", full)
        with pytest.raises(HostError, match="No space left"):
            director.apply(State())
    assert set(kernel.services()) == {WEB, DNS}
    director.apply(State())
    assert kernel.services() == {}
    assert engine(tmp_path, kernel, adopted=True).state.services == {}


def test_routes_that_changed_without_a_daemon_are_noticed(tmp_path: Path) -> None:
    """A start over adopted maps asks anew for the director's address towards every server."""
    kernel, routes = FakeKernel(), FakeRoutes()
    routes.own = Address.parse("10.0.0.254")
    add(engine(tmp_path, kernel, routes=routes), server(1, forward="route"))
    routes.own = Address.parse("10.0.0.253")
    director = engine(tmp_path, kernel, adopted=True, routes=routes)
    assert bytes(kernel.arrays["servers"]["src"][0]) == routes.own
    assert kernel.addresses()[routes.own]
    assert director.state.services[WEB].servers == (server(1, forward="route"),)
