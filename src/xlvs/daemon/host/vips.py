"""The virtual addresses that xlvs puts on interfaces itself, as ``address: {device: eth0}`` asks.

Takes away only what it added: that is kept in a file, written before an address
is added and after one is removed, so that a crash loses none.  An address that
was there before is nobody's to remove.  An interface that is not there yet gets
its addresses when it comes.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from xlvs.daemon.host import netns, sysctls
from xlvs.daemon.host.announce import announce
from xlvs.daemon.host.files import write_whole
from xlvs.daemon.host.netlink import Link, Netlink
from xlvs.daemon.log import log
from xlvs.errors import HostError, XlvsError
from xlvs.model import Address

Place = tuple[int, Address]
"""An interface by its index, which stays when it is renamed, and an address on it."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NO_MAC = bytes(6)


class Vips:
    """*file* holds what was added.  Works in the network namespace of *netlink*, which must be this thread's."""

    def __init__(self, netlink: Netlink, file: Path) -> None:
        self._netlink = netlink
        self._file = file
        self._wanted: set[tuple[str, Address]] | None = None
        self._kept = _load(file) if _netns_of(file) == netns.identity() else set()
        """What is ours, as the file says."""
        self._unannounced: set[Place] = set()
        self._warnings: list[str] = []

    def want(self, wanted: Collection[tuple[str, Address]]) -> None:
        """Let *wanted*, pairs of an interface's name and an address, be there from now on; as `sync` if that is new."""
        if self._wanted != set(wanted):
            self._wanted = set(wanted)
            self.sync()

    def sync(self) -> None:
        """Bring the interfaces there are now in line with what is wanted; to be called when they have changed."""
        self._warnings = []
        if self._wanted or self._kept:
            try:
                self._sync(self._netlink.links())
            except HostError as err:
                self._warnings.append(str(err))

    def warnings(self) -> list[str]:
        """Return what could not be done, a sentence each."""
        return list(self._warnings)

    def purge(self) -> None:
        """Take back everything that was added, and forget what is wanted."""
        self._wanted = set()
        self.sync()
        self._file.unlink(missing_ok=True)

    def _sync(self, links: dict[int, Link]) -> None:
        present = {(own.ifindex, own.address) for own in self._netlink.addresses()}
        places = self._places(links)
        ours = self._kept & present
        missing = places - present
        self._keep(ours | missing)
        added = {place for place in sorted(missing) if self._add(place, links)}
        removed = {place for place in sorted(ours - places) if self._remove(place, links)}
        self._keep((ours | added) - removed)
        self._unannounced = (self._unannounced | added) & places
        self._announce(links)

    def _places(self, links: dict[int, Link]) -> set[Place]:
        """Return where what is wanted goes; warn of interfaces that are not there."""
        by_name = {link.name: link.index for link in links.values()}
        wanted = self._wanted or set()
        for name in sorted({device for device, _ in wanted if device not in by_name}):
            addresses = sorted(address for device, address in wanted if device == name)
            more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
            self._warnings.append(
                f"the virtual address {addresses[0]}{more} is to be on {name}, and there is no such interface: "
                f"it is added when {name} appears"
            )
        return {(by_name[device], address) for device, address in wanted if device in by_name}

    def _add(self, place: Place, links: dict[int, Link]) -> bool:
        """Add an address; return whether it is ours now."""
        index, address = place
        name = links[index].name
        try:
            self._netlink.add_address(address, index)
        except FileExistsError:  # somebody was quicker, and it is theirs
            return False
        except OSError as err:
            self._warnings.append(f"the virtual address {address} cannot be added to {name}: {err.strerror}")
            return False
        log("virtual address added", address=address, interface=name)
        return True

    def _remove(self, place: Place, links: dict[int, Link]) -> bool:
        """Remove an address of ours; return whether it is gone."""
        index, address = place
        name = links[index].name if index in links else str(index)
        try:
            self._netlink.delete_address(address, index)
        except OSError as err:
            self._warnings.append(f"the virtual address {address} cannot be removed from {name}: {err.strerror}")
            return False
        log("virtual address removed", address=address, interface=name)
        return True

    def _announce(self, links: dict[int, Link]) -> None:
        """Tell the neighbours what is new; what cannot be told yet is told at a later `sync`."""
        for index, address in sorted(self._unannounced):
            link = links[index]
            if link.loopback or link.mac == _NO_MAC:
                self._unannounced.discard((index, address))
            elif link.running:
                router = sysctls.read(f"net.ipv6.conf.{link.name.replace('.', '/')}.forwarding") == "1"
                try:
                    announce(address, link, router=router)
                except OSError:  # an IPv6 address is in use a moment after it was added, and there is news then
                    continue
                self._unannounced.discard((index, address))

    def _keep(self, ours: set[Place]) -> None:
        """Write down what is ours; raises `HostError`."""
        if ours == self._kept:
            return
        addresses = [[index, str(address)] for index, address in sorted(ours)]
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            here = {"boot": _boot(), "netns": netns.identity(), "addresses": addresses}
            write_whole(self._file, json.dumps(here))
        except OSError as err:
            raise HostError(
                f"virtual addresses stay as they are, since {self._file} cannot be written: {err.strerror}"
            ) from err
        self._kept = ours


def take_back(file: Path) -> None:
    """Remove every address that *file* names, and the file.  Leaves this thread in the namespace it is about."""
    if _load(file) and netns.enter_by_identity(_netns_of(file)):
        netlink = Netlink()
        try:
            Vips(netlink, file).purge()
        finally:
            netlink.close()
    file.unlink(missing_ok=True)


def _load(file: Path) -> set[Place]:
    """Return what is ours; nothing after a boot, which has removed it."""
    try:
        data = json.loads(file.read_text())
        if data["boot"] != _boot():
            return set()
        return {(int(index), Address.parse(text)) for index, text in data["addresses"]}
    except (OSError, ValueError, KeyError, TypeError, XlvsError):
        return set()


def _netns_of(file: Path) -> int:
    try:
        return int(json.loads(file.read_text())["netns"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _boot() -> str:
    return _BOOT_ID.read_text().strip()
