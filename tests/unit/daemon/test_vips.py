"""Virtual addresses that xlvs puts on interfaces: added once, and only ours are taken away."""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path

import pytest

from tests.unit.daemon.host import FakeNetlink
from xlvs.daemon.host import announce, vips
from xlvs.daemon.host.netlink import Link, OwnAddress
from xlvs.daemon.host.vips import Vips
from xlvs.model import Address

VIP = Address.parse("192.0.2.1")
SECOND = Address.parse("2001:db8::1")
WANTED = {("eth0", VIP), ("eth0", SECOND)}
MAC = bytes.fromhex("020000000001")


@pytest.fixture
def netlink() -> FakeNetlink:
    """Give out a host with one interface, whose carrier is not there, so that nothing is sent."""
    made = FakeNetlink()
    made.links_there = {2: Link(2, "eth0", MAC, running=False)}
    return made


def there(netlink: FakeNetlink) -> set[tuple[int, Address]]:
    """Return the addresses on the host."""
    return {(own.ifindex, own.address) for own in netlink.own}


def start(netlink: FakeNetlink, directory: Path) -> Vips:
    """Return what a daemon that has just started has."""
    return Vips(netlink, directory / "state" / "vips.json")  # type: ignore[arg-type]


def test_wanted_addresses_are_added_and_unwanted_ones_removed(netlink: FakeNetlink, tmp_path: Path) -> None:
    """An interface has what is wanted, no more."""
    ours = start(netlink, tmp_path)
    ours.want(WANTED)
    assert there(netlink) == {(2, VIP), (2, SECOND)}
    ours.want({("eth0", VIP)})
    assert there(netlink) == {(2, VIP)}
    assert ours.warnings() == []


def test_an_address_that_was_there_before_is_left_alone(netlink: FakeNetlink, tmp_path: Path) -> None:
    """Whatever its prefix length is, and also when everything is taken back."""
    netlink.own.append(OwnAddress(2, VIP, 0, 24))
    ours = start(netlink, tmp_path)
    ours.want(WANTED)
    ours.purge()
    assert netlink.own == [OwnAddress(2, VIP, 0, 24)]


def test_what_is_ours_is_known_after_a_restart(netlink: FakeNetlink, tmp_path: Path) -> None:
    """The next daemon removes what an earlier one added, and nothing else."""
    netlink.own.append(OwnAddress(2, SECOND, 0, 64))
    start(netlink, tmp_path).want(WANTED)
    start(netlink, tmp_path).want([])
    assert there(netlink) == {(2, SECOND)}


def test_an_address_is_kept_in_mind_before_it_is_added(netlink: FakeNetlink, tmp_path: Path) -> None:
    """A daemon that dies in between leaves nothing that nobody removes."""

    def die(address: Address, ifindex: int) -> None:
        FakeNetlink.add_address(netlink, address, ifindex)
        raise KeyboardInterrupt

    dying = start(netlink, tmp_path)
    netlink.add_address = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        dying.want({("eth0", VIP)})
    assert there(netlink) == {(2, VIP)}
    start(netlink, tmp_path).want([])
    assert there(netlink) == set()


def test_after_a_boot_nothing_is_ours(netlink: FakeNetlink, tmp_path: Path) -> None:
    """A boot has removed what was added, so what is there now is somebody else's."""
    start(netlink, tmp_path).want(WANTED)
    file = tmp_path / "state" / "vips.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "boot": "another"}))
    start(netlink, tmp_path).want([])
    assert there(netlink) == {(2, VIP), (2, SECOND)}


def test_an_interface_that_comes_later_gets_its_addresses(netlink: FakeNetlink, tmp_path: Path) -> None:
    """Until then there is a warning."""
    links, netlink.links_there = netlink.links_there, {}
    ours = start(netlink, tmp_path)
    ours.want(WANTED)
    (warning,) = ours.warnings()
    assert "the virtual address 192.0.2.1 and 1 more is to be on eth0, and there is no such interface" in warning
    netlink.links_there = links
    ours.sync()
    assert there(netlink) == {(2, VIP), (2, SECOND)}
    assert ours.warnings() == []


def test_an_interface_with_another_name_loses_our_addresses(netlink: FakeNetlink, tmp_path: Path) -> None:
    """They are wanted on the one that has the name."""
    ours = start(netlink, tmp_path)
    ours.want({("eth0", VIP)})
    netlink.links_there = {2: Link(2, "old", MAC, running=False), 3: Link(3, "eth0", MAC, running=False)}
    ours.sync()
    assert there(netlink) == {(3, VIP)}


def test_a_refusal_of_the_kernel_is_told_and_tried_again(netlink: FakeNetlink, tmp_path: Path) -> None:
    """The other addresses are added, and what was refused is not ours."""
    netlink.refuse = {SECOND: errno.EACCES}
    ours = start(netlink, tmp_path)
    ours.want(WANTED)
    assert ours.warnings() == ["the virtual address 2001:db8::1 cannot be added to eth0: Permission denied"]
    assert there(netlink) == {(2, VIP)}
    netlink.refuse = {}
    ours.sync()
    assert there(netlink) == {(2, VIP), (2, SECOND)}


def test_nothing_is_added_that_cannot_be_kept_in_mind(netlink: FakeNetlink, tmp_path: Path) -> None:
    """Nobody would ever remove it."""
    (tmp_path / "state").write_text("no directory")
    ours = start(netlink, tmp_path)
    ours.want(WANTED)
    assert there(netlink) == set()
    assert "cannot be written" in ours.warnings()[0]


def test_taking_back_works_without_a_daemon(tmp_path: Path) -> None:
    """A file that says nothing, or nothing of this boot, is removed, and that is all."""
    file = tmp_path / "vips.json"
    for text in ("", "{}", json.dumps({"boot": "another", "netns": 1, "addresses": [[2, "192.0.2.1"]]})):
        file.write_text(text)
        vips.take_back(file)
        assert not file.exists()


def test_an_arp_announcement_is_a_request_for_oneself() -> None:
    """RFC 5227 section 3: both addresses are the one that is announced, the frame goes to all."""
    frame = announce.arp_announcement(VIP, MAC)
    assert frame == bytes.fromhex("ffffffffffff 020000000001 0806 0001 0800 06 04 0001") + (
        MAC + VIP.packed + bytes(6) + VIP.packed
    )


@pytest.mark.parametrize(("router", "flags"), [(True, 0xA0000000), (False, 0x20000000)])
def test_a_neighbour_advertisement_overrides(router: bool, flags: int) -> None:
    """RFC 4861 section 7.2.6: unsolicited, with the override flag and the link-layer address."""
    message = announce.neighbour_advertisement(SECOND, MAC, router=router)
    assert message == struct.pack("!BBHI", 136, 0, 0, flags) + SECOND.packed + b"\x02\x01" + MAC
