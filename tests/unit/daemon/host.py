"""A host in memory: what its netlink answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from xlvs.daemon.host.netlink import Link, OwnAddress, Route
from xlvs.daemon.host.regions import Prefix
from xlvs.model import Address


class FakeNetlink:
    """Knows routes by address or, for those in none of them, by the function *way*; *own* are the host's addresses."""

    def __init__(self, known: Mapping[Address, Route] | None = None, own: Iterable[OwnAddress] = ()) -> None:
        self.known = dict(known or {})
        self.own = list(own)
        self.links_there: dict[int, Link] = {}
        self.tables: set[Prefix] = set()
        self.several: set[Address] = set()
        self.asked: list[Address] = []
        self.probed: list[tuple[Address, int]] = []
        self.refuse: dict[Address, int] = {}

    def links(self) -> dict[int, Link]:
        """Return the interfaces."""
        return self.links_there

    def route(self, address: Address) -> Route | None:
        """Return the route to one address."""
        return self.known.get(address)

    def routes(self, addresses: Sequence[Address]) -> list[Route | None]:
        """Return the routes to addresses."""
        self.asked += addresses
        return [self.route(address) for address in addresses]

    def single_routes(self, addresses: Sequence[Address]) -> list[bool]:
        """Tell which of them have one next hop."""
        return [address not in self.several for address in addresses]

    def prefixes(self, limit: int) -> set[Prefix] | None:
        """Return what the tables have."""
        return self.tables if len(self.tables) <= limit else None

    def addresses(self) -> list[OwnAddress]:
        """Return the host's addresses."""
        return list(self.own)

    def add_address(self, address: Address, ifindex: int) -> None:
        """Add one."""
        if address in self.refuse:
            raise OSError(self.refuse[address], "Permission denied")
        self.own.append(OwnAddress(ifindex, address, 0, address.max_prefixlen))

    def delete_address(self, address: Address, ifindex: int) -> None:
        """Remove one."""
        self.own.remove(OwnAddress(ifindex, address, 0, address.max_prefixlen))

    def probe(self, hops: Iterable[tuple[Address, int]]) -> None:
        """Note which neighbours were asked for."""
        self.probed += hops
