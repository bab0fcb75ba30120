"""Where the real servers are from here: the director's own address towards each, and the next hops to keep resolved.

Answers are kept until `forget` is called (something changed).  A few addresses
are asked for one by one.  For many, the kernel is asked once per region
(`regions`), so that the cost is that of the routes in use, not of the servers.
An address whose route has several next hops is always asked for by itself,
since which one it takes is the kernel's secret (fib_multipath_hash).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from xlvs.daemon.host.netlink import ROUTE_LOCAL, ROUTE_UNICAST, Netlink, OwnAddress, Route
from xlvs.daemon.host.regions import Regions, source_prefixes
from xlvs.model import Address

GLOBAL_SCOPE = 0
FEW = 256
"""So many addresses are asked for one by one: no table is read for less."""
PROBES = 1000
"""How many neighbours are asked for in one go."""

_EACH_ITS_OWN = Route(0, 0, None, None)
"""Stands for the route of a region whose addresses have to be asked for one by one."""


class Routes:
    """Routes to real servers.  *is_virtual* tells which addresses are virtual ones, never a source."""

    def __init__(self, netlink: Netlink, is_virtual: Callable[[Address], bool]) -> None:
        self._netlink = netlink
        self._is_virtual = is_virtual
        self._answers: dict[Address, Route | None] = {}
        self._regions: Regions | None = None
        self._region_routes: dict[int, Route | None] = {}
        self._grouping = True
        self._seen: dict[Route, Route] = {}
        self._own: list[OwnAddress] | None = None
        self._round: list[Address] = []

    def forget(self) -> None:
        """Ask the kernel anew from now on."""
        self._answers.clear()
        self._regions = None
        self._region_routes.clear()
        self._seen.clear()
        self._grouping = True
        self._own = None

    def route(self, address: Address) -> Route | None:
        """Return the route to *address*, or None."""
        return self._find([address])[0]

    def routes(self, addresses: Collection[Address]) -> dict[Address, Route | None]:
        """Return the route to each address, or None where there is none."""
        wanted = list(addresses)
        return dict(zip(wanted, self._find(wanted), strict=True))

    def source(self, address: Address) -> Address | None:
        """Return the director's own address, never a virtual one, from which to reach *address*, or None."""
        return self.sources([address])[address]

    def sources(self, addresses: Collection[Address]) -> dict[Address, Address | None]:
        """Return the `source` for each address."""
        wanted = list(addresses)
        found = self._find(wanted)
        # Thousands of addresses have the very same few routes, which are hashed too slowly by their values.
        distinct = {id(route): route for route in found}
        sources = {key: self._source_of(route) for key, route in distinct.items()}
        return {address: sources[id(route)] for address, route in zip(wanted, found, strict=True)}

    def probe(self, addresses: Collection[Address]) -> None:
        """Have the next hop towards each address resolved, or confirmed if it is known; 1,000 hops at most."""
        hops = dict.fromkeys(hop for address, route in self.routes(addresses).items() if (hop := _hop(address, route)))
        self._netlink.probe(list(hops)[:PROBES])

    def tend(self, addresses: Callable[[], Iterable[Address]]) -> None:
        """Keep the next hops towards all addresses resolved; to be called again and again, a part is done each time.

        That part is every router known to be a next hop, and the servers on the
        link among the next 1,000 addresses.  *addresses* is called only when a
        round begins, so a full round takes a call for each thousand addresses:
        every call is one for up to 1,000 of them; 160,000, with a call every
        20 seconds, take 53 minutes.
        """
        if not self._round:
            self._round = list(addresses())
        part, self._round = self._round[-PROBES:], self._round[:-PROBES]
        hops = {hop for address, route in self.routes(part).items() if (hop := _hop(address, route))}
        known = (*self._region_routes.values(), *self._seen)
        hops |= {(r.gateway, r.ifindex) for r in known if r and r.gateway and r.type == ROUTE_UNICAST}
        self._netlink.probe(hops)

    def _source_of(self, route: Route | None) -> Address | None:
        if route is None:
            return None
        if route.source and not self._is_virtual(route.source):
            return route.source
        return self._other_source(route.ifindex, route.version)

    def _other_source(self, ifindex: int, version: int) -> Address | None:
        """Return another address of the egress interface, or else of any interface but loopback's own."""
        usable = [
            (own.ifindex, own.address)
            for own in self._own_addresses()
            if own.scope == GLOBAL_SCOPE and own.address.version == version and not self._is_virtual(own.address)
        ]
        return next((own for index, own in usable if index == ifindex), next((own for _, own in usable), None))

    def _own_addresses(self) -> list[OwnAddress]:
        if self._own is None:
            self._own = self._netlink.addresses()
        return self._own

    def _find(self, addresses: Sequence[Address]) -> list[Route | None]:
        """Return the route to each address."""
        if self._regions is None:
            unknown = self._unknown(addresses)
            if len(unknown) > FEW and self._grouping:
                self._read_tables(limit=len(unknown))
        if self._regions is not None:
            return self._find_by_region(self._regions, addresses)
        self._ask(self._unknown(addresses))
        return [self._answers[address] for address in addresses]

    def _read_tables(self, limit: int) -> None:
        """Find the regions, unless there are more prefixes than addresses to ask for: then those are less work."""
        prefixes = self._netlink.prefixes(limit)
        self._grouping = prefixes is not None
        if prefixes is not None:
            self._regions = Regions(prefixes | source_prefixes((a.address, a.length) for a in self._own_addresses()))

    def _find_by_region(self, regions: Regions, addresses: Sequence[Address]) -> list[Route | None]:
        numbers = regions.of(addresses)
        example = np.full(len(regions), -1)
        example[numbers] = np.arange(len(addresses))
        new = [number for number in np.flatnonzero(example >= 0).tolist() if number not in self._region_routes]
        self._ask_for_regions({number: addresses[example[number]] for number in new}, regions.single)
        found = [self._region_routes[number] for number in numbers.tolist()]
        apart = {number for number, route in self._region_routes.items() if route is _EACH_ITS_OWN}
        if apart:
            places = np.flatnonzero(np.isin(numbers, list(apart))).tolist()
            self._ask(self._unknown([addresses[place] for place in places]))
            for place in places:
                found[place] = self._answers[addresses[place]]
        return found

    def _ask_for_regions(self, examples: dict[int, Address], single: Sequence[bool]) -> None:
        """Ask for one address of each region, and whether its route is that of all the others."""
        wider = [number for number in examples if not single[number]]
        alike = self._netlink.single_routes([examples[number] for number in wider])
        apart = {number for number, same in zip(wider, alike, strict=True) if not same}
        self._region_routes.update(dict.fromkeys(apart, _EACH_ITS_OWN))
        asked = [number for number in examples if number not in apart]
        self._region_routes.update(zip(asked, self._netlink.routes([examples[n] for n in asked]), strict=True))

    def _unknown(self, addresses: Iterable[Address]) -> list[Address]:
        return [address for address in addresses if address not in self._answers]

    def _ask(self, addresses: Sequence[Address]) -> None:
        """Ask for addresses one by one."""
        for address, route in zip(addresses, self._netlink.routes(addresses), strict=True):
            self._answers[address] = route and self._seen.setdefault(route, route)


def is_local(route: Route | None) -> bool:
    """Return whether packets that take *route* end on this host."""
    return route is not None and route.type == ROUTE_LOCAL


def _hop(address: Address, route: Route | None) -> tuple[Address, int] | None:
    """Return the neighbour, and its interface, that packets to *address* are handed to; None if there is none."""
    if route is None or route.type != ROUTE_UNICAST:
        return None
    return route.gateway or address, route.ifindex
