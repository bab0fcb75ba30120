"""What about this host will keep xlvs from working as configured: one sentence each, with the way out.

Reads routes and sysctls, changes nothing: xlvs adds no address and opens no forwarding by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xlvs.daemon.host.routes import Routes
from xlvs.model import State
from xlvs.model.server import Address

ReadSysctl = Callable[[str], str | None]


def warnings(state: State, routes: Routes, interfaces: Iterable[str], sysctl: ReadSysctl) -> list[str]:
    """Return the sentences, most important first; *interfaces* are the names of those that packets are taken from."""
    vips = {key.address for key in state.services}
    found = [_not_here(vip) for vip in sorted(vips, key=str) if not routes.is_local(vip)]
    versions = {vip.version for vip in vips}
    if 4 in versions and sysctl("net.ipv4.ip_forward") == "0":
        found.append("IPv4 forwarding is off, so nothing reaches the real servers: sysctl -w net.ipv4.ip_forward=1")
    if 6 in versions and sysctl("net.ipv6.conf.all.forwarding") == "0":
        found.append(
            "IPv6 forwarding is off, so nothing reaches the real servers: sysctl -w net.ipv6.conf.all.forwarding=1"
        )
    if 4 in versions:
        found += _strict_filters(state, interfaces, sysctl)
    servers = {server.address for service in state.services.values() for server in service.servers}
    for address in sorted(servers, key=str):
        route = routes.route(address)
        if route is None:
            found.append(f"there is no route to the real server {address}")
        elif routes.is_local(address):
            found.append(f"the real server {address} is this director itself, which is not supported yet")
    return found


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
