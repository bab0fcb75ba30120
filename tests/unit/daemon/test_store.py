"""The configuration on disk: whole after any crash, refused when it cannot be understood."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from tests.unit.daemon.fake import paths
from xlvs.daemon.store import Baselines, Store, drop_service, put_baselines, put_service
from xlvs.errors import HostError
from xlvs.model import Server, Service, ServiceKey, State

VIP = ipaddress.ip_address("192.0.2.1")


def service(port: int) -> Service:
    """Return a service with one server."""
    return Service(ServiceKey("tcp", VIP, port), servers=(Server(ipaddress.ip_address("10.0.0.1"), 80),))


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
    store.append(put_service(service(82), {}))
    store.append(drop_service(service(80).key))
    store.append(put_baselines(Baselines(servers={3: (1, 2, 3, 4, 5)})))
    kept = Store(paths(tmp_path)).load()
    assert [key.port for key in kept.state.services] == [81, 82]
    assert kept.baselines.servers == {3: (1, 2, 3, 4, 5)}


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_cut_short_by_a_crash_is_left_out(tmp_path: Path, cut: int) -> None:
    """What was being written when the power went was not confirmed to anybody, and is not there."""
    store = stored(tmp_path, 80)
    store.append(put_service(service(81), {}))
    size = paths(tmp_path).journal.stat().st_size
    store.append(put_service(service(82), {}))
    with paths(tmp_path).journal.open("r+b") as journal:
        journal.truncate(size + cut)
    assert ports(tmp_path) == [80, 81]


def test_an_old_journal_beside_a_new_snapshot_does_no_harm(tmp_path: Path) -> None:
    """A crash between writing the snapshot and emptying the journal changes nothing."""
    store = stored(tmp_path, 80)
    store.append(put_service(service(81), {}))
    store.append(drop_service(service(80).key))
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
            store.append(put_service(service(81), {}))
    store.append(put_service(service(82), {}))
    assert ports(tmp_path) == [80, 82]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"services": 3}', '{"services": [{"port": 80}]}', '{"baselines": {"servers": 1}}']
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
