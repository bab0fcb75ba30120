"""Loading for real: programs run, maps hold, pins are adopted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.unit.dataplane import sample
from xlvs.dataplane import _abi as abi
from xlvs.dataplane import bpffs, probe, syscalls
from xlvs.dataplane.loader import OBJECTS, Loaded, Loader
from xlvs.dataplane.uapi import MapType, ProgSpec, ProgType
from xlvs.errors import HostError, InvalidError

FRAME = bytes(64)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample object in a file."""
    path = tmp_path_factory.mktemp("objects") / "sample.bpf.o"
    path.write_bytes(sample.compiled())
    return path


@pytest.fixture
def loaded(path: Path) -> Iterator[Loaded]:
    """The sample in the kernel, nothing pinned."""
    loaded = Loader([path]).load()
    yield loaded
    loaded.close()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A bpffs of the test's own."""
    bpffs.mount(tmp_path / "bpf")
    yield tmp_path / "bpf"
    bpffs.purge(tmp_path / "bpf")


def run(loaded: Loaded, name: str) -> int:
    """Return the verdict of the program *name*."""
    return loaded.programs[name].test_run(FRAME).retval


def test_this_machine_can_run_the_tests() -> None:
    """A root user on a kernel with BPF passes the probe."""
    probe.require_bpf()


def test_callbacks_subprograms_and_variables_work_together(loaded: Loaded) -> None:
    """Ten steps through bpf_loop, two levels of calls, a constant table, and a counter that persists."""
    assert run(loaded, "sum_up") == sum([10, 30][i % 2] + 2 * i + 7 for i in range(10))
    assert run(loaded, "call_count") == 10
    assert run(loaded, "sum_up") == run(loaded, "sum_up")
    assert run(loaded, "call_count") == 30


def test_a_constant_can_be_chosen_before_loading(path: Path) -> None:
    """A const volatile variable has the value it was given by name."""
    loaded = Loader([path], constants={"bonus": 1007}).load(programs={"sum_up"})
    assert run(loaded, "sum_up") == sum([10, 30][i % 2] + 2 * i + 1007 for i in range(10))
    loaded.close()


def test_an_unknown_constant_cannot_be_set(path: Path) -> None:
    """A value for a constant that does not exist is a mistake, and the answer lists the constants."""
    with pytest.raises(InvalidError, match="no constant is called 'bonsu'.*bonus"):
        Loader([path], constants={"bonsu": 1})


def test_only_the_programs_asked_for_are_loaded(path: Path) -> None:
    """A real server needs one program, not all."""
    loaded = Loader([path]).load(programs={"let_pass"})
    assert set(loaded.programs) == {"let_pass"}
    loaded.close()


def test_a_refused_program_brings_the_verifiers_words() -> None:
    """The error's one sentence holds the verifier's last word, its log all of them."""
    leave = ProgSpec("leave", ProgType.XDP, bytes.fromhex("9500000000000000"), "GPL")
    with pytest.raises(syscalls.LoadError, match="the kernel refused program leave: .*R0 !read_ok") as caught:
        syscalls.prog_load(leave)
    assert "processed " in caught.value.log


def test_values_are_written_read_and_deleted(loaded: Loaded) -> None:
    """What was put under a key comes back, in the layout of the program; an absent key is None."""
    values = loaded.maps["values"]
    record = np.zeros((), values.value_dtype)
    record["signed_number"], record["address"] = -5, 0x0A000001
    values.put((80, [1, 2, 3, 4, 5, 6]), record)
    assert values.get((80, [1, 2, 3, 4, 5, 6])) == record
    assert values.get((81, [1, 2, 3, 4, 5, 6])) is None
    assert values.delete((80, [1, 2, 3, 4, 5, 6]))
    assert not values.delete((80, [1, 2, 3, 4, 5, 6]))
    assert len(values.items()[0]) == 0


def test_programs_see_network_order(loaded: Loaded) -> None:
    """A program that looks up a port in network order finds what Python put under the plain number."""
    values = loaded.maps["values"]
    record = np.zeros((), values.value_dtype)
    record["signed_number"] = 42
    values.put((0x0800, [0] * 6), record)
    frame = bytes(12) + b"\x08\x00" + bytes(50)
    assert loaded.programs["peek"].test_run(frame).retval == 42


def test_a_hash_map_is_read_whole(loaded: Loaded) -> None:
    """More entries than one system call reads all arrive, each once."""
    values = loaded.maps["values"]
    keys = np.zeros(15000, values.key_dtype)
    keys["port"] = np.arange(15000)
    records = np.zeros(15000, values.value_dtype)
    records["number"] = np.arange(15000) ** 2
    values.write_at(keys, records)
    found_keys, found = values.items()
    assert sorted(found_keys["port"]) == list(range(15000))
    assert (found["number"] == found_keys["port"].astype("u8") ** 2).all()
    values.clear()
    assert len(values.items()[0]) == 0


def test_ranges_of_an_array_are_written_and_read(loaded: Loaded) -> None:
    """A range lands at its place and nowhere else."""
    numbers = loaded.maps["numbers"]
    numbers.write(10, [1, 2, 3])
    assert numbers.read(9, 5).tolist() == [0, 1, 2, 3, 0]
    assert numbers.read().tolist() == [0] * 10 + [1, 2, 3] + [0] * 87
    assert numbers.read(99).tolist() == [0]
    assert numbers.read(5, 0).tolist() == []
    assert [k.tolist() for k in numbers.items()] == [list(range(100)), numbers.read().tolist()]


def test_per_cpu_values_are_summed(loaded: Loaded) -> None:
    """A counter's total is over all CPUs, with values narrower than the kernel's 8-byte stride."""
    for _ in range(3):
        loaded.programs["let_pass"].test_run(FRAME)
    hits = loaded.maps["hits"]
    assert hits.totals().tolist() == [0, 3 * len(FRAME), 0, 0]
    assert hits.total(1) == hits.get(1).sum() == 3 * len(FRAME)
    hits.put(2, 5)
    assert hits.get(2).tolist() == [5] * len(hits.get(2))


def test_a_table_is_replaced_whole(loaded: Loaded) -> None:
    """Tables of different sizes follow each other in the same place, and the program sees the last."""
    tables = loaded.maps["tables"]
    assert run(loaded, "look_up") == 1000
    tables.put_table(0, [1, 2, 3, 99])
    assert run(loaded, "look_up") == 99
    tables.put_tables([0, 5], [np.arange(65537) + 1, [7]])
    assert run(loaded, "look_up") == 4
    assert tables.table(0).tolist() == list(range(1, 65538))
    assert tables.table(5).tolist() == [7]
    assert tables.table(1) is None
    tables.delete(0)
    assert run(loaded, "look_up") == 1000


def test_pinned_maps_are_adopted(path: Path, directory: Path) -> None:
    """A second start finds what the first left in the maps, and its programs use those maps."""
    first = Loader([path]).load(directory)
    first.maps["tables"].put_table(0, [0, 0, 0, 5])
    assert first.adopted == frozenset()
    first.close()
    second = Loader([path]).load(directory)
    assert second.adopted == set(second.maps)
    assert run(second, "look_up") == 5
    assert sorted(p.name for p in (directory / "progs").iterdir()) == sorted(second.programs)
    second.close()


def test_an_adopted_map_keeps_its_size(path: Path, directory: Path) -> None:
    """A size that nobody asks for now is that of the pinned map; one that differs is refused, naming the map."""
    Loader([path], sizes={"numbers": 7}).load(directory).close()
    again = Loader([path]).load(directory)
    assert again.maps["numbers"].max_entries == 7
    again.close()
    with pytest.raises(HostError, match="the pinned map numbers has size 7, not 8"):
        Loader([path], sizes={"numbers": 8}).load(directory)


def test_a_pinned_map_of_another_shape_is_refused(path: Path, directory: Path) -> None:
    """Values of another size were written by another version and must not be read as ours."""
    (directory / "maps").mkdir()
    syscalls.obj_pin(syscalls.map_create(MapType.ARRAY, 4, 16, 100, name="numbers"), directory / "maps" / "numbers")
    with pytest.raises(HostError, match="the pinned map numbers has value size 16, not 8"):
        Loader([path]).load(directory)


def test_an_unknown_map_cannot_be_sized(path: Path) -> None:
    """A size for a map that does not exist is a mistake, and the answer lists the maps."""
    with pytest.raises(InvalidError, match="no map is called 'flwos'.*numbers"):
        Loader([path], sizes={"flwos": 1})


def test_a_pinned_timer_goes_on_without_its_loader(path: Path, directory: Path) -> None:
    """A timer armed once ticks on in its pinned map after every descriptor is closed."""
    first = Loader([path]).load(directory)
    assert run(first, "start_ticking") == 0
    first.close()
    again = Loader([path]).load(directory, programs=set())
    before = again.maps["ticker"].get(0)["n"]
    deadline = time.monotonic() + 10
    while again.maps["ticker"].get(0)["n"] == before:
        assert time.monotonic() < deadline, "the timer stands still"
        time.sleep(0.001)
    again.close()


def test_purge_leaves_nothing(path: Path, tmp_path: Path) -> None:
    """After a purge neither the pins nor the file system nor its directory is there; a second one is harmless."""
    bpffs.mount(tmp_path / "bpf")
    bpffs.mount(tmp_path / "bpf")
    assert bpffs.is_mounted(tmp_path / "bpf")
    Loader([path]).load(tmp_path / "bpf").close()
    bpffs.purge(tmp_path / "bpf")
    bpffs.purge(tmp_path / "bpf")
    assert not (tmp_path / "bpf").exists()
    assert not bpffs.is_mounted(tmp_path)


def test_purge_keeps_off_other_file_systems(tmp_path: Path) -> None:
    """A directory that is no bpffs keeps its files."""
    (tmp_path / "file").write_text("mine")
    bpffs.purge(tmp_path)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_programs_of_xlvs_load_and_share_their_maps() -> None:
    """Both objects are accepted by this kernel, at the default sizes, with one map per name."""
    loaded = Loader([OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"]).load()
    assert set(loaded.programs) == {
        "xlvs_xdp",
        "xlvs_in",
        "xlvs_lo",
        "xlvs_mark",
        "xlvs_out",
        "xlvs_decap",
        "xlvs_sweep",
        "xlvs_import",
        "xlvs_clock",
    }
    assert loaded.maps["flows4"].max_entries * abi.WAYS == 2 * abi.MAX_FLOWS
    assert loaded.maps["tables"].get(0) is None
    loaded.close()
