"""What about this host will keep xlvs from working as configured: one sentence each, with the way out.

Reads routes and sysctls, changes nothing: xlvs opens no forwarding by itself, and adds no address unless told to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xlvs.daemon.host.routes import Routes, is_local
from xlvs.model import MARK, Address, State

ReadSysctl = Callable[[str], str | None]

MOST = 8
"""How many addresses get a sentence each; of the others only the number is told."""


def warnings(state: State, routes: Routes, interfaces: Iterable[str], sysctl: ReadSysctl) -> list[str]:
    """Return the sentences, most important first; *interfaces* are the names of those that packets are taken from."""
    vips = {key.address for key in state.services if key.protocol != MARK}
    # Those that xlvs adds itself are not looked at: `Vips` tells what keeps it from that.
    added = {key.address for key, service in state.services.items() if service.device}
    there = routes.routes(vips)
    versions = {key.version for key in state.services}
    found = _each([vip for vip in vips - added if not is_local(there[vip])], _not_here)
    if 4 in versions and sysctl("net.ipv4.ip_forward") == "0":
        found.append("IPv4 forwarding is off, so nothing reaches the real servers: sysctl -w net.ipv4.ip_forward=1")
    if 6 in versions and sysctl("net.ipv6.conf.all.forwarding") == "0":
        found.append(
            "IPv6 forwarding is off, so nothing reaches the real servers: sysctl -w net.ipv6.conf.all.forwarding=1"
        )
    if 4 in versions:
        found += _strict_filters(state, interfaces, sysctl)
    servers = {server.address for service in state.services.values() for server in service.servers}
    ways = routes.routes(servers)
    found += _each([address for address, route in ways.items() if route is None], _no_route)
    return found


def _each(addresses: list[Address], sentence: Callable[[Address], str]) -> list[str]:
    """Return the sentence for the first addresses, and how many more it holds for."""
    addresses.sort()
    found = [sentence(address) for address in addresses[:MOST]]
    if len(addresses) > MOST:
        found[-1] += f" (and {len(addresses) - MOST} more addresses like this)"
    return found


def _no_route(server: Address) -> str:
    return f"there is no route to the real server {server}"


def _not_here(vip: Address) -> str:
    return (
        f"the virtual address {vip} is neither local nor routed to this host, so clients may not reach it: "
        f"ip address add {vip}/{vip.max_prefixlen} dev lo, and route or announce it here"
    )


def _strict_filters(state: State, interfaces: Iterable[str], sysctl: ReadSysctl) -> list[str]:
    """Return a warning for each interface whose rp_filter drops packets that come back another way."""
    methods = {s.forward for service in state.services.values() for s in service.servers}
    everywhere = int(sysctl("net.ipv4.conf.all.rp_filter") or 0)
    strict = []
    for name in ["lo", *interfaces]:
        own = int(sysctl(f"net.ipv4.conf.{name.replace('.', '/')}.rp_filter") or 0)
        if max(everywhere, own) == 1:
            strict.append(name)
    if not methods or not strict:
        return []
    return [
        f"rp_filter is strict on {', '.join(strict)}, which drops what {', '.join(sorted(methods))} servers send back "
        f"to clients on this host, and asymmetric packets: sysctl -w net.ipv4.conf.all.rp_filter=2"
    ]
