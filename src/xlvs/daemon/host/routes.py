"""Where the real servers are from here: the director's own address towards each, and the next hops to keep resolved.

Answers are kept until `forget` is called (something changed); asking the
kernel once per server and change is cheap, once per packet it would not be.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from xlvs.daemon.host.netlink import ROUTE_LOCAL, ROUTE_UNICAST, Netlink, Route
from xlvs.model.server import Address

GLOBAL_SCOPE = 0


class Routes:
    """Routes to real servers.  *is_virtual* tells which addresses are virtual ones, never a source."""

    def __init__(self, netlink: Netlink, is_virtual: Callable[[Address], bool]) -> None:
        self._netlink = netlink
        self._is_virtual = is_virtual
        self._routes: dict[Address, Route | None] = {}
        self._own: list[tuple[int, Address, int]] | None = None

    def forget(self) -> None:
        """Ask the kernel anew from now on."""
        self._routes.clear()
        self._own = None

    def route(self, address: Address) -> Route | None:
        """Return the route to *address*, or None."""
        if address not in self._routes:
            self._routes[address] = self._netlink.route(address)
        return self._routes[address]

    def source(self, address: Address) -> Address | None:
        """Return the director's own address, never a virtual one, from which to reach *address*, or None."""
        route = self.route(address)
        if route is None:
            return None
        if route.source and not self._is_virtual(route.source):
            return route.source
        return self._other_source(route.ifindex, address.version)

    def _other_source(self, ifindex: int, version: int) -> Address | None:
        """Return another address of the egress interface, or else of any interface but loopback's own."""
        if self._own is None:
            self._own = self._netlink.addresses()
        usable = [
            (index, own)
            for index, own, scope in self._own
            if scope == GLOBAL_SCOPE and own.version == version and not self._is_virtual(own)
        ]
        return next((own for index, own in usable if index == ifindex), next((own for _, own in usable), None))

    def probe(self, addresses: Iterable[Address]) -> None:
        """Have the next hop towards each address resolved, or confirmed if it is known."""
        hops = set()
        for address in addresses:
            route = self.route(address)
            if route and route.type == ROUTE_UNICAST:
                hops.add((route.gateway or address, route.ifindex))
        for hop, ifindex in hops:
            with contextlib.suppress(OSError):  # the interface may be going just now
                self._netlink.probe(hop, ifindex)

    def is_local(self, address: Address) -> bool:
        """Return whether packets to *address* end on this host."""
        route = self.route(address)
        return route is not None and route.type == ROUTE_LOCAL
