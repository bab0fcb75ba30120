"""The configuration file of a daemon, and what the state asks of the host."""

from __future__ import annotations

from pathlib import Path

import pytest

from xlvs.config import ConfigError
from xlvs.daemon import configuration
from xlvs.daemon.configuration import Watch
from xlvs.daemon.host.interfaces import Wish
from xlvs.errors import HostError, XlvsError
from xlvs.model import Address, Match, Server, Service, ServiceKey, State

VIP = Address.parse("192.0.2.1")
OTHER = Service(ServiceKey("udp", VIP, 53), servers=(Server(Address.parse("10.0.0.9"), 53),))
HAVE = State({OTHER.key: OTHER})


def vips(state: State) -> set[tuple[str, Address]]:
    """Return the virtual addresses that a state has put on interfaces."""
    needs = configuration.Needs()
    needs.follow(state.services)
    return set(needs.vips.values())


def test_needs_follow_what_changes() -> None:
    """A look at the services that change comes to the same as one at all."""
    marked = ServiceKey.of_mark(7)
    tunnel = Server(Address.parse("10.0.0.1"), 80, "gre", tunnel_checksum="full")
    services = {
        OTHER.key: OTHER,
        marked: Service(marked, "rr", match=(Match.parse("192.0.2.0/24"),)),
        ServiceKey("tcp", VIP, 80): Service(ServiceKey("tcp", VIP, 80), servers=(tunnel,), device="eth0"),
    }
    needs, whole = configuration.Needs(), configuration.Needs()
    for key in services:
        needs.follow(services, [key])
    whole.follow(services)
    assert vars(needs) == vars(whole)
    assert (needs.segments, needs.marked, list(needs.matches)) == ({ServiceKey("tcp", VIP, 80)}, set(), [marked])
    services[marked] = Service(marked, "rr")
    del services[ServiceKey("tcp", VIP, 80)]
    needs.follow(services, [marked, ServiceKey("tcp", VIP, 80)])
    whole.follow(services)
    assert vars(needs) == vars(whole)
    assert (needs.segments, needs.marked, needs.matches, needs.vips) == (set(), {marked}, {}, {})


def test_the_file_is_added_to_what_others_have(tmp_path: Path) -> None:
    """And what it defines is its own, by its name; a service that it no longer names goes."""
    file = tmp_path / "xlvs.yaml"
    file.write_text("services: [{listen: {address: 192.0.2.1, port: 80}, address: {device: eth0}}]")
    state = configuration.read(file, HAVE)
    added = state.services[ServiceKey("tcp", VIP, 80)]
    assert (added.owner, added.device, state.services[OTHER.key]) == (f"config:{file}", "eth0", OTHER)
    assert vips(state) == {("eth0", VIP)}
    file.write_text("services: []")
    assert configuration.read(file, state) == HAVE
    assert vips(HAVE) == set()


def test_only_services_with_a_device_have_an_address_to_be_added() -> None:
    """The others' addresses are the operator's affair."""
    assert vips(HAVE) == set()


def test_interfaces_of_the_state_come_before_those_of_the_command_line() -> None:
    """For those that it names; the default stays the command line's."""
    asked = Wish.parse("eth0=xdp,tc")
    assert configuration.wish(State(), asked) is asked
    assert configuration.wish(State(interfaces={"eth1": "none"}), asked) == Wish("tc", {"eth1": "none"})


@pytest.mark.parametrize(
    ("content", "error", "why"),
    [
        (None, HostError, "cannot read {file}: No such file or directory"),
        (b"services: \xff", HostError, "cannot read {file}: it is not UTF-8 (byte 10)"),
        (b"servces: []", ConfigError, "{file}:1:1: servces: unknown key (did you mean 'services'?)"),
        (
            b"services: [{listen: {address: 192.0.2.1, port: 80}, servers: [{address: 224.0.0.1, port: 80}]}]",
            XlvsError,
            "224.0.0.1",
        ),
        (b"services: [{listen: {address: 192.0.2.1, port: 53, protocol: udp}}]", XlvsError, "192.0.2.1:53/udp"),
    ],
)
def test_a_file_that_is_wrong_is_refused(
    tmp_path: Path, content: bytes | None, error: type[XlvsError], why: str
) -> None:
    """Because it cannot be read or understood, asks for what cannot be, or for what is another's."""
    file = tmp_path / "xlvs.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(error) as caught:
        configuration.read(file, HAVE)
    assert why.format(file=file) in str(caught.value)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """The kernel's reason is told."""
    with pytest.raises(HostError, match=f"cannot read {tmp_path}: Is a directory"):
        configuration.read(tmp_path, State())


def test_a_watched_file_is_told_once_it_stays_as_it_is(tmp_path: Path) -> None:
    """Neither while it is being written, nor while it is away; written or replaced, and once each."""
    file = tmp_path / "xlvs.yaml"
    file.write_text("services: []\n")
    watch = Watch(file)
    assert [watch.look(), watch.look()] == [False, False]
    file.write_text("services: [] # one\n")
    assert [watch.look(), watch.look(), watch.look()] == [False, True, False]
    file.unlink()
    assert [watch.look(), watch.look()] == [False, False]
    (tmp_path / "new").write_text("services: [] # two\n")
    (tmp_path / "new").rename(file)
    assert [watch.look(), watch.look()] == [False, True]
    file.write_text("services: [] # half")
    assert watch.look() is False
    file.write_text("services: [] # half and whole\n")
    assert [watch.look(), watch.look(), watch.look()] == [False, True, False]
