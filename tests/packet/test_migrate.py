"""Pinned maps of another build: carried over, made anew or refused, and never half of it."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from tests.packet import releases
from tests.packet.releases import SMALL, changed
from xlvs.daemon.kernel import Kernel
from xlvs.dataplane import OBJECTS, bpffs, syscalls
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.loader import Loaded, Loader
from xlvs.dataplane.maps import Map
from xlvs.dataplane.uapi import MapType
from xlvs.dataplane.upgrade.migrate import TABLE_BEFORE
from xlvs.dataplane.upgrade.takeover import Takeover
from xlvs.errors import HostError, InvalidError
from xlvs.model import Address, Server, Service, ServiceKey
from xlvs.plan.layout import Layout, Placed
from xlvs.plan.planner import plan

ROW = "\t__u32\tid;\n\t__u16\tweight;\n\t__be16\tport;\n\t__u32\tgone;\n"
WIDER = (ROW, "__u64 fresh; __be16 port; __u32 weight; __u64 id;")
"""A field more, one less, two wider, and another order."""

RAISED = [
    ("schema_user, 1);\n\t__uint(type, BPF_MAP_TYPE_ARRAY", "schema_user, 2);\n\t__uint(type, BPF_MAP_TYPE_ARRAY"),
    ("schema_user, 1);\n\t__uint(type, BPF_MAP_TYPE_HASH", "schema_user, 2);\n\t__uint(type, BPF_MAP_TYPE_HASH"),
]
NEXT = [WIDER, *RAISED]

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile the small build with these changes."""
    folder = tmp_path_factory.mktemp("builds")
    made: dict[str, Path] = {}

    def build(*changes: tuple[str, str]) -> Path:
        source = changed(SMALL, *changes)
        if source not in made:
            made[source] = releases.compiled(source, folder / f"{len(made)}.bpf.o")
        return made[source]

    return build


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A bpffs of the test's own."""
    bpffs.mount(tmp_path / "bpf")
    yield tmp_path / "bpf"
    bpffs.purge(tmp_path / "bpf")


def load(path: Path, directory: Path, **options: Any) -> Loaded:
    """Load one object."""
    return Loader([path]).load(directory, **options)


def filled(path: Path, directory: Path) -> None:
    """Pin the maps of the small build, with something in each."""
    loaded = Loader([path], sizes={"rows": 40, "names": 30}).load(directory)
    loaded.maps["rows"].put(7, (70, 700, 7000, 1))
    loaded.maps["rows"].put(39, (390, 3900, 39000, 1))
    loaded.maps["names"].put(5, (50, 500, 5000, 1))
    loaded.maps["packets"].put(3, (30, 300, 3000))
    loaded.maps["memory"].put(1, 1)
    for _ in range(4):
        loaded.programs["use_them"].test_run(bytes(64))
    loaded.close()


def ids(directory: Path, folder: str = "maps") -> dict[str, int]:
    """Return the numbers that the kernel gave to what is pinned."""
    found = {}
    for pin in (directory / folder).iterdir():
        fd = syscalls.obj_get(pin)
        found[pin.name] = syscalls.map_info(fd).id
        os.close(fd)
    return found


def assert_carried(loaded: Loaded) -> None:
    """Check that the content of the small build is there in the wider layout."""
    rows, names = loaded.maps["rows"], loaded.maps["names"]
    assert (rows.max_entries, names.max_entries) == (40, 30)
    assert rows.get(7).tolist() == (0, 7000, 700, 70)
    assert rows.get(39).tolist() == (0, 39000, 3900, 390)
    assert rows.read()["id"].sum() == 460
    assert [part.tolist() for part in names.items()] == [[5], [(0, 5000, 500, 50)]]
    assert loaded.maps["packets"].get(3).tolist() == (30, 300, 3000)
    assert loaded.maps["counts"].totals().tolist() == [0, 4, 0]


def test_fields_go_over_by_name(build: Build, directory: Path) -> None:
    """Arrays and hashes of an older layout are filled field by field, keep their size, and the rest is adopted."""
    filled(build(), directory)
    before = ids(directory)
    loaded = load(build(*NEXT), directory)
    assert_carried(loaded)
    after = ids(directory)
    assert {name for name in before if before[name] != after[name]} == {"rows", "names", "schema"}
    assert (loaded.carried, loaded.adopted) == ({"rows", "names"}, set(loaded.maps))
    assert loaded.programs["use_them"].test_run(bytes(64)).retval == 1
    loaded.close()


def test_the_same_build_again_changes_nothing(build: Build, directory: Path) -> None:
    """A restart adopts every map and pins none anew."""
    filled(build(), directory)
    before = ids(directory)
    loaded = load(build(), directory)
    assert (loaded.carried, loaded.adopted) == (set(), set(loaded.maps))
    loaded.close()
    assert ids(directory) == before


def test_nothing_is_pinned_before_the_commit(build: Build, directory: Path) -> None:
    """A build that is loaded, and then fails, leaves the maps as the one before made them."""
    filled(build(), directory)
    before = ids(directory)
    loaded = load(build(*NEXT), directory, commit=False)
    assert_carried(loaded)
    loaded.close()
    assert ids(directory) == before
    assert not (directory / "maps-new").exists()
    load(build(), directory).close()
    assert ids(directory) == before


def test_the_generation_before_stays_until_the_end(build: Build, directory: Path) -> None:
    """A map that this build does not know any more is unpinned by finish, not by commit; so is its program."""
    renamed = (("use_them", "use_more"), ("} memory", "} kept"), ("&memory", "&kept"))
    filled(build(), directory)
    before = ids(directory)
    loaded = load(build(*renamed), directory, commit=False)
    loaded.commit()
    assert ids(directory, "maps-new") == before
    assert "kept" in ids(directory)
    assert {pin.name for pin in (directory / "progs").iterdir()} == {"use_them", "use_more"}
    loaded.finish()
    assert not (directory / "maps-new").exists()
    assert {pin.name for pin in (directory / "progs").iterdir()} == {"use_more"}
    assert "memory" not in ids(directory)
    loaded.close()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            [("state;", "state; __u64 more;"), ("schema_kernel, 1", "schema_kernel, 2")],
            "the pinned map packets has layout 1, this xlvs writes layout 2 .*value size 16, not 24",
        ),
        ([("schema_kernel, 1", "schema_kernel, 2")], "packets has layout 1.*its meaning changed"),
        ([WIDER], "the pinned map rows has value size 12, not 24"),
        (
            [("__u32\tid;", "__u8 id;"), ("__u16\tweight", "__u64 weight"), *RAISED],
            "the pinned map rows cannot be carried over from layout 1 to 2 .a number is too large",
        ),
    ],
)
def test_what_cannot_be_is_refused_and_left_at_work(
    build: Build, directory: Path, changes: list[tuple[str, str]], sentence: str
) -> None:
    """A sentence says which map, what is different and the way out; the build before goes on."""
    filled(build(), directory)
    loaded = load(build(), directory)
    loaded.maps["rows"].put(8, (300, 0, 0, 0))
    loaded.close()
    before = ids(directory)
    with pytest.raises(HostError, match=f"{sentence}.*--purge"):
        load(build(*changes), directory)
    assert ids(directory) == before
    load(build(), directory).close()


def test_an_older_build_refuses_newer_maps(build: Build, directory: Path) -> None:
    """The way back is refused by version, and the maps stay as they are."""
    filled(build(), directory)
    load(build(*NEXT), directory).close()
    before = ids(directory)
    with pytest.raises(HostError, match=r"the pinned map rows was made by a newer xlvs \(layout 2, this one knows 1\)"):
        load(build(), directory)
    assert ids(directory) == before
    load(build(*NEXT), directory).close()


def test_more_counts_keep_the_old_ones(build: Build, directory: Path) -> None:
    """A build that counts more things begins with the counts so far, CPU by CPU."""
    filled(build(), directory)
    loaded = load(build(("max_entries, 3", "max_entries, 5")), directory)
    assert loaded.maps["counts"].totals().tolist() == [0, 4, 0, 0, 0]
    loaded.close()
    fewer = load(build(), directory)
    assert fewer.maps["counts"].max_entries == 5
    fewer.close()


@pytest.mark.parametrize(
    ("change", "left"),
    [(("max_entries, 70", "max_entries, 71"), 1), (("max_entries, 10)", "max_entries, 11)"), 0)],
    ids=["kernel", "cache"],
)
def test_only_a_cache_takes_another_size(build: Build, directory: Path, change: tuple[str, str], left: int) -> None:
    """Another default size leaves maps as they are, but a cache is made anew, empty."""
    filled(build(), directory)
    loaded = load(build(change), directory)
    assert loaded.maps["packets"].max_entries == 70
    assert len(loaded.maps["memory"].items()[0]) == left
    loaded.close()


def test_schema_is_nobody_elses_name(build: Build, directory: Path) -> None:
    """The programs cannot have a map of that name."""
    with pytest.raises(InvalidError, match="no map can be called 'schema'"):
        load(build(("} memory", "} schema"), ("&memory", "&schema")), directory)


def test_a_map_of_unknown_layout_is_refused(build: Build, directory: Path) -> None:
    """Without type information there is nothing to go by, and the sentence says so."""
    (directory / "maps").mkdir()
    syscalls.obj_pin(syscalls.map_create(MapType.ARRAY, 4, 12, 50, name="rows"), directory / "maps" / "rows")
    with pytest.raises(HostError, match="the kernel does not know the layout of the pinned map rows"):
        load(build(*NEXT), directory)


def killed_at(step: int, act: Callable[[], object]) -> bool:
    """Do *act* in a process that kills itself before its change of the file system number *step*; say if it did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's threads, which the child does not need
        pid = os.fork()
    if pid:
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    left = step

    def dying(change: Callable[..., object]) -> Callable[..., object]:
        def count(*arguments: Any, **options: Any) -> object:
            nonlocal left
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            return change(*arguments, **options)

        return count

    for name in ("mkdir", "rename", "unlink", "rmdir"):
        setattr(Path, name, dying(getattr(Path, name)))
    syscalls.obj_pin = dying(syscalls.obj_pin)  # type: ignore[assignment]
    bpffs.exchange = dying(bpffs.exchange)  # type: ignore[assignment]
    act()
    os._exit(0)


def test_a_kill_at_any_step_leaves_a_whole_generation(build: Build, directory: Path) -> None:
    """Up to one step both builds can start, from it on the newer one; whichever does finds everything."""
    old, new = build(), build(*NEXT)
    taken_over = []
    for step in range(100):
        filled(old, directory)
        packets = ids(directory)["packets"]
        died = killed_at(step, lambda: load(new, directory))
        try:
            load(old, directory).close()
            taken_over.append(True)
        except HostError as err:
            assert "newer xlvs" in str(err)
            taken_over.append(False)
        loaded = load(new, directory)
        assert_carried(loaded)
        loaded.close()
        assert ids(directory)["packets"] == packets
        assert sorted(pin.name for pin in directory.iterdir() if "." not in pin.name) == ["maps", "progs"]
        bpffs.purge(directory)
        bpffs.mount(directory)
        if not died:
            break
    assert taken_over == sorted(taken_over, reverse=True)
    assert (taken_over[0], taken_over[-1]) == (True, False)
    assert len(taken_over) > 15


def test_a_kill_in_the_first_load_leaves_nothing_in_the_way(build: Build, directory: Path) -> None:
    """Maps that were pinned in part are no maps; the next start begins anew."""
    for step in range(100):
        died = killed_at(step, lambda: load(build(), directory))
        loaded = load(build(), directory)
        assert loaded.adopted in (set(), set(loaded.maps))
        loaded.close()
        bpffs.purge(directory)
        bpffs.mount(directory)
        if not died:
            return
    raise AssertionError("the load never ends")


# The first release.

VIP = Address.parse("192.0.2.1")
VIP6 = Address.parse("2001:db8::1")
OFF = Service(ServiceKey("tcp", VIP, 81), "sh", frozenset(), (Server(Address.parse("10.0.0.9"), 80, "route", 0),))
"""Its only server, which is drained, has the number 0: a place of nothing but zeros."""
WEB = Service(
    ServiceKey("tcp", VIP, 80),
    "wrr",
    frozenset(),
    (
        Server(Address.parse("10.0.0.1"), 8080, "nat", 3),
        Server(Address.parse("10.0.0.2"), 80, "route", 1),
    ),
)
DNS = Service(
    ServiceKey("udp", VIP6, 53),
    "sh",
    frozenset({"flag-1", "flag-2"}),
    tuple(Server(Address.parse(f"2001:db8:1::{n}"), 53, "ipip", n % 20) for n in range(1, 21)),
)
ALL = {service.key: service for service in (OFF, WEB, DNS)}
SOURCE = Address.parse("10.0.0.254")
SOURCES = {server.address: SOURCE for service in ALL.values() for server in service.servers}
SIZES = {"services": 8, "service_stats": 8, "sched_state": 16, "tables": 16, "slots": 8, "servers": 64} | {
    "loads": 64, "server_stats": 64, "addrs": 64, "nat_servers": 64,
}  # fmt: skip
FIRST_SIZES = SIZES | {"flows": 32, "flow_index": 64, "flow_free": 32}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The maps of xlvs 0.1, compiled."""
    return releases.first_release(tmp_path_factory.mktemp("first") / "first.bpf.o")


def todays() -> Loader:
    """Return the loader of this build."""
    return Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"])


def wanted() -> tuple[Loaded, Layout]:
    """Return unpinned maps, and the layout, of this build with the services in force."""
    loaded = Loader([OBJECTS / "tc.bpf.o"], sizes=SIZES).load(programs=set())
    kernel = Kernel(loaded.maps)
    layout = Layout(kernel.limits)
    made = plan(layout, ALL, SOURCES, 1)
    for write in [*made.prepare, *made.commit(kernel.sched_state), *made.tidy]:
        kernel.write(write)
    layout.accept(made.change)
    return loaded, layout


def pin_first(first: Path, directory: Path, *, abi_version: int = 1) -> None:
    """Pin the maps of xlvs 0.1 with the same services, in its layouts, and a flow."""
    fresh, layout = wanted()
    loaded = Loader([first], sizes=FIRST_SIZES).load(directory)
    maps = loaded.maps
    put_services_first(maps, layout)
    put_servers_first(maps, layout)
    for index in range(fresh.maps["tables"].max_entries):
        if (table := fresh.maps["tables"].table(index)) is not None:
            maps["tables"].put_table(index, np.where(table == abi.NO_SERVER, table, table & (abi.RUN - 1)))
    maps["tables"].put_table(15, [1, 2, 3])  # of nobody: a daemon died before it was looked at
    put_flow_first(maps)
    record = np.zeros((), maps["config"].value_dtype)
    record["hop_epoch"], record["abi"] = 77, abi_version
    maps["config"].put(0, record)
    (directory / "maps" / "schema").unlink()
    loaded.close()
    fresh.close()


def put_services_first(maps: dict[str, Map], layout: Layout) -> None:
    """Write services and their places as xlvs 0.1 did."""
    for key, placed in layout.services.items():
        value = np.frombuffer(placed.value, abi.SERVICE)[0]
        record = np.zeros((), maps["services"].value_dtype)
        for name in ("block", "n", "table_size", "max_weight", "gcd", "sched", "sched_flags"):
            record[name] = value[name]
        record["id"], record["half"] = placed.id, placed.half
        maps["services"].put((key.address, key.port, 6 if key.protocol == "tcp" else 17, 0), record)
        blocks = np.zeros(placed.blocks, maps["slots"].value_dtype)
        for at, slot in enumerate(placed.slots):
            blocks["slot"][at // 16, at % 16] = slot
        maps["slots"].write(placed.block, blocks)


def put_servers_first(maps: dict[str, Map], layout: Layout) -> None:
    """Write the servers as xlvs 0.1 did, and one that was deleted while it had flows, as number 50."""
    weights = {n: w for placed in layout.services.values() for n, w in placed.slots}
    for number in weights:
        row = layout.rows[number]
        record = np.zeros((), maps["servers"].value_dtype)
        for name in ("addr", "src", "virt", "vport", "port", "service", "fwd", "proto"):
            record[name] = row[name]
        record["flags"], record["weight"] = 1, weights[number]
        maps["servers"].put(number, record)
    record["addr"], record["flags"] = Address.parse("2001:db8:1::dead"), 0
    maps["servers"].put(50, record)
    maps["loads"].put(50, (1, 0))
    maps["server_stats"].put(0, (1, 2, 3, 4, 5))


def put_flow_first(maps: dict[str, Map]) -> None:
    """Write two flows, and a slot that was given back between them."""
    records = np.zeros(3, maps["flows"].value_dtype)
    records["server"], records["word"] = 50, [1 << 32 | 1 << 12 | 2 << 8 | 1, 1 << 32 | 255, 7 << 32 | 2 << 12 | 11]
    records["seen"], records["in_bytes"], records["out_bytes"] = time.monotonic_ns(), 5 << 30, 77
    records["key"]["client"] = [Address.parse("192.0.2.77"), bytes(16), Address.parse("2001:db8:c::7")]
    records["key"]["other"] = [Address.parse("192.0.2.1"), bytes(16), VIP6]
    records["key"]["cport"], records["key"]["oport"], records["key"]["proto"] = 4000, [80, 0, 53], [6, 0, 17]
    maps["flows"].write(0, records)
    maps["flow_table"].put(0, (3, 0, 2, 0, 0))
    maps["flow_index"].put(records["key"][0], 0)


def plain(placed: Placed) -> Placed:
    """Return the service without what its value says about its weights."""
    value = np.frombuffer(placed.value, abi.SERVICE).copy()
    value["flags"] &= ~np.uint8(abi.SERVICE_EVEN)
    return replace(placed, value=value.tobytes())


def test_the_first_release_is_carried_over(first: Path, directory: Path) -> None:
    """What xlvs 0.1 had in its maps is what this build would have made of the same services.

    Until they are changed they lack what only makes choices faster: that all weights are the same.
    """
    pin_first(first, directory)
    before = ids(directory)
    loaded = todays().load(directory, programs=set())
    after, maps = ids(directory), loaded.maps
    renewed = {"services", "slots", "servers", "tables", "config", "counters", "drops", "loads"}
    assert {n for n in before if before[n] != after.get(n)} == renewed | TABLE_BEFORE | {"clock"}
    assert after.keys() - before.keys() >= {"epoch", "schema", "flows4", "flows6", "flow_head"}
    fresh, expected = wanted()
    kernel = Kernel(maps)
    assert kernel.settle() == ""
    layout = kernel.layout()
    assert (layout.limits, layout.services) == (expected.limits, {k: plain(p) for k, p in expected.services.items()})
    assert layout.retired == {(DNS.key, Address.parse("2001:db8:1::dead"), 53): 50}
    assert layout.rows[:50].tobytes() == expected.rows[:50].tobytes()
    for index in range(16):
        assert np.array_equal(maps["tables"].table(index), fresh.maps["tables"].table(index)), index
    assert not plan(layout, ALL, SOURCES, 2)
    assert maps["config"].get(0)["hop_epoch"] == 77
    loaded.close()
    fresh.close()


def test_flows_of_the_first_release_are_taken_over(first: Path, directory: Path) -> None:
    """Each comes with its ends, state, method, age and bytes, and counts at its server."""
    pin_first(first, directory)
    loaded = todays().load(directory, commit=False)
    kernel = Kernel(loaded.maps)
    loaded.programs["xlvs_clock"].test_run(bytes(64))
    kernel.begin_table()
    (left,) = loaded.left
    takeover = Takeover(loaded.maps, left, loaded.programs["xlvs_import"])
    assert takeover.live() == {4: 1, 6: 1}
    assert (takeover.step(), takeover.failed) == (2, 0)
    assert (kernel.loads(51)[50].tolist(), kernel.live_flows()) == ([1, 1, 0], 2)
    four, six = sorted((row for part in kernel.flows.records() for row in part), key=lambda row: row["vport"])[::-1]
    assert (bytes(four["client"]), int(four["cport"])) == (Address.parse("192.0.2.77"), 4000)
    assert (bytes(four["virt"]), int(four["vport"]), int(four["server"])) == (Address.parse("192.0.2.1"), 80, 50)
    assert (four["state"], four["fwd"], bool(four["local"])) == (abi.FlowState.ESTABLISHED, abi.Fwd.ROUTE, True)
    assert (int(four["in_bytes"]), int(four["out_bytes"])) == (5 << 30, 77)
    assert (bytes(six["client"]), bytes(six["virt"])) == (Address.parse("2001:db8:c::7"), VIP6)
    assert (six["state"], six["fwd"], bool(six["local"])) == (abi.FlowState.UDP, abi.Fwd.IPIP, False)
    assert kernel.flows.count().flows == 2
    loaded.close()


def test_flows_without_room_are_counted(first: Path, directory: Path) -> None:
    """What does not fit the new table is not entered and told of; what was entered stays, and counts once."""
    pin_first(first, directory)
    loaded = todays().load(directory, commit=False)
    kernel = Kernel(loaded.maps)
    loaded.programs["xlvs_clock"].test_run(bytes(64))
    kernel.begin_table()
    head = loaded.maps["flow_head"].get(0)
    head["buckets"], head["stripes"], head["spill"] = 2, 1, 0
    loaded.maps["flow_head"].put(0, head)
    old = loaded.left[0]["flows"].read(0, 1)
    rows = np.repeat(old, 20)
    rows["key"]["cport"] = np.arange(5000, 5020)
    loaded.left[0]["flows"].write(0, rows)
    loaded.left[0]["flow_table"].put(0, (20, 0, 20, 0, 0))
    takeover = Takeover(loaded.maps, loaded.left[0], loaded.programs["xlvs_import"])
    assert (takeover.step(), takeover.failed) == (20, 12)
    assert (kernel.live_flows(), kernel.flows.count().flows) == (8, 8)
    loaded.close()


def test_the_first_release_knows_its_maps_until_the_commit(first: Path, directory: Path) -> None:
    """All that xlvs 0.1 looks at before it starts is as it was, and its programs find their values."""
    pin_first(first, directory)
    before = ids(directory)
    loaded = todays().load(directory, programs=set(), commit=False)
    loaded.close()
    assert ids(directory) == before
    config = Loader([first]).load(directory).maps["config"]
    assert config.get(0)["abi"] == 1


def test_a_first_release_that_never_wrote_its_number_is_known(first: Path, directory: Path) -> None:
    """A daemon that died between making its maps and configuring them left the number 0."""
    pin_first(first, directory, abi_version=0)
    loaded = todays().load(directory, programs=set())
    assert loaded.carried == {"services", "slots", "servers", "tables", "config", "counters", "drops"}
    loaded.close()


def test_maps_that_no_release_made_are_refused(first: Path, directory: Path) -> None:
    """Without versions, and with another number than the first release, nothing is guessed."""
    pin_first(first, directory, abi_version=2)
    with pytest.raises(HostError, match=r"never released.*--purge"):
        todays().load(directory)
