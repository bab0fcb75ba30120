"""The configuration on disk: whole after any crash, refused when it cannot be understood."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.daemon.fake import paths
from xlvs.daemon.store import Baselines, Record, Store
from xlvs.errors import HostError
from xlvs.model import Address, Server, Service, ServiceKey, State

VIP = Address.parse("192.0.2.1")


def service(port: int) -> Service:
    """Return a service with one server."""
    return Service(ServiceKey("tcp", VIP, port), servers=(Server(Address.parse("10.0.0.1"), 80),))


def stored(directory: Path, *ports: int) -> Store:
    """Return a store whose snapshot has services at these ports."""
    store = Store(paths(directory))
    state = State({service(port).key: service(port) for port in ports})
    store.snapshot(state, Baselines(), {})
    return store


def ports(directory: Path) -> list[int]:
    """Return the ports of the services that a new daemon would find."""
    return [key.port for key in Store(paths(directory)).load().state.services]


def test_nothing_kept_is_an_empty_state(tmp_path: Path) -> None:
    """The first start begins with nothing, and says that nothing was found."""
    kept = Store(paths(tmp_path)).load()
    assert kept.state == State()
    assert not kept.found


def test_changes_since_the_snapshot_count(tmp_path: Path) -> None:
    """Services put and dropped after the snapshot, and counters zeroed, are as they were last."""
    store = stored(tmp_path, 80, 81)
    store.append(Record(put=[service(82)]))
    store.append(Record(drop=[service(80).key]))
    store.append(Record(baselines=Baselines(servers={3: (1, 2, 3, 4, 5)})))
    kept = Store(paths(tmp_path)).load()
    assert [key.port for key in kept.state.services] == [81, 82]
    assert kept.baselines.servers == {3: (1, 2, 3, 4, 5)}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path, cut: int) -> None:
    """What was being written when the power went was not confirmed to anybody, and is not there."""
    store = stored(tmp_path, 80)
    store.append(Record(put=[service(81)]))
    size = paths(tmp_path).journal.stat().st_size
    store.append(Record(put=[service(82)]))
    with paths(tmp_path).journal.open("r+b") as journal:
        journal.truncate(size + cut)
    assert ports(tmp_path) == [80, 81]


def test_an_old_journal_beside_a_new_snapshot_does_no_harm(tmp_path: Path) -> None:
    """A crash between writing the snapshot and emptying the journal changes nothing."""
    store = stored(tmp_path, 80)
    store.append(Record(put=[service(81)]))
    store.append(Record(drop=[service(80).key]))
    journal = paths(tmp_path).journal.read_bytes()
    store.snapshot(Store(paths(tmp_path)).load().state, Baselines(), {})
    paths(tmp_path).journal.write_bytes(journal)
    assert ports(tmp_path) == [81]


def test_a_failed_append_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that failed half-way, the next one is found."""
    store = stored(tmp_path, 80)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", full)
        with pytest.raises(HostError, match="nothing was changed"):
            store.append(Record(put=[service(81)]))
    store.append(Record(put=[service(82)]))
    assert ports(tmp_path) == [80, 82]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"services": 3}',
        '{"services": [{"port": 80}]}',
        '{"baselines": {"servers": 1}}',
        '{"format":3,"generation":0,"services":[],"timeouts":{}}',
    ],
)
def test_a_snapshot_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    """A daemon never starts empty over a configuration that it cannot read."""
    stored(tmp_path, 80)
    paths(tmp_path).state.write_text(text)
    with pytest.raises(HostError, match="cannot understand"):
        Store(paths(tmp_path)).load()


def test_the_configuration_is_for_root_alone(tmp_path: Path) -> None:
    """Nobody else may read what is balanced where."""
    stored(tmp_path, 80)
    assert paths(tmp_path).state.stat().st_mode & 0o077 == 0
    assert paths(tmp_path).journal.stat().st_mode & 0o077 == 0


def test_a_change_is_one_line_whole(tmp_path: Path) -> None:
    """Everything a change says is found, in one record."""
    store = stored(tmp_path, 80, 81)
    timeouts = {"tcp": 60, "tcpfin": 5, "udp": 9}
    weights = [(service(82).key, "10.0.0.1", 80, 3)]
    store.append(Record(7, [service(82)], [service(80).key], timeouts, {"eth0": "xdp"}, weights))
    kept = Store(paths(tmp_path)).load()
    assert kept.state == State({s.key: s for s in (service(81), service(82))}, timeouts, {"eth0": "xdp"}, 7)
    assert kept.last_weights == {(service(82).key, Address.parse("10.0.0.1"), 80): 3}
    store.append(Record(8, interfaces=None))
    assert Store(paths(tmp_path)).load().state.interfaces is None


def test_a_record_can_be_taken_back(tmp_path: Path) -> None:
    """A change that could not be put in force after all is off the disk again."""
    store = stored(tmp_path, 80)
    store.append(Record(put=[service(81)]))
    store.append(Record(put=[service(82)]))
    store.take_back()
    assert ports(tmp_path) == [80, 81]
    store.append(Record(put=[service(83)]))
    assert ports(tmp_path) == [80, 81, 83]


def test_what_the_first_release_kept_is_read(tmp_path: Path) -> None:
    """A director that is upgraded has its services, zeroed counters and drained servers' weights."""
    server = {"address": "10.0.0.1", "port": 80, "forward": "nat", "weight": 0, "upper": 0, "lower": 0}
    web = {"protocol": "tcp", "address": "192.0.2.1", "port": 80, "scheduler": "mh", "flags": ["flag-2"]}
    snapshot = {
        "services": [{**web, "servers": [server], "last_weights": [["10.0.0.1", 80, 3]]}],
        "timeouts": {"tcp": 900, "tcpfin": 120, "udp": 300},
        "baselines": {"services": {"0": [1, 2, 3, 4, 5]}, "servers": {}},
    }
    journal = [
        {"put": {**web, "port": 81, "servers": [server]}},
        {"baselines": {"services": {}, "servers": {"7": [1, 1, 1, 1, 1]}}},
        {"put": {**web, "port": 82, "servers": []}},
        {"drop": {"protocol": "tcp", "address": "192.0.2.1", "port": 82}},
    ]
    paths(tmp_path).state_dir.mkdir(parents=True)
    paths(tmp_path).state.write_text(json.dumps(snapshot))
    paths(tmp_path).journal.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in journal))
    kept = Store(paths(tmp_path)).load()
    one = Server(Address.parse("10.0.0.1"), 80, "nat", 0)
    keys = [ServiceKey("tcp", VIP, port) for port in (80, 81)]
    assert list(kept.state.services.values()) == [Service(key, "mh", frozenset({"flag-2"}), (one,)) for key in keys]
    assert kept.last_weights == {(keys[0], one.address, 80): 3}
    assert (kept.baselines.services, kept.baselines.servers) == ({0: (1, 2, 3, 4, 5)}, {7: (1, 1, 1, 1, 1)})
    store = Store(paths(tmp_path))
    found = store.load()
    store.snapshot(found.state, found.baselines, found.last_weights)
    kept_aside = [
        path.with_name(f"{path.name}.1").read_text() for path in (paths(tmp_path).state, paths(tmp_path).journal)
    ]
    assert json.loads(kept_aside[0]) == snapshot
    assert [json.loads(line) for line in kept_aside[1].splitlines()] == journal
    assert Store(paths(tmp_path)).load().state == kept.state
