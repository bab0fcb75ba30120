"""From what checks say of its servers to the service that is put in force.  Pure.

After keepalived's check_data.c and ipwrapper.c: servers that are down are taken out or get weight 0
(inhibit_on_failure); below the quorum the sorry server stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from xlvs.health.verdict import Verdict
from xlvs.model import Address, Server, Service
from xlvs.model.health import Health

ServerKey = tuple[Address, int]
STEPS = 20
"""In so many steps a weight grows to what it should be."""
_NONE = Health()


class View(NamedTuple):
    """What is known of a service: the verdict of each server, whether the quorum was there before, who is drained."""

    servers: Mapping[ServerKey, Verdict]
    quorum: bool = True
    drained: frozenset[ServerKey] = frozenset()


def is_checked(service: Service) -> bool:
    """Return whether health has a say in what is put in force of the service."""
    return service.health is not None or service.sorry_server is not None or any(s.health for s in service.servers)


def is_up(server: Server, service: Service, view: View) -> bool:
    """Return whether the server may get traffic."""
    verdict = view.servers.get(server.key)
    if verdict is None:
        return True
    return not is_alpha(server, service) if verdict.up is None else verdict.up


def is_alpha(server: Server, service: Service) -> bool:
    """Return whether the server is down until it has answered."""
    own = server.health.alpha if server.health else None
    return (service.health or _NONE).alpha if own is None else own


def has_quorum(service: Service, view: View, now: float) -> bool:
    """Return whether enough weight is up: `hysteresis` more than the quorum to gain it, as much less to lose it."""
    health = service.health or _NONE
    weight = sum(weight_of(server, service, view, now) for server in service.servers if is_up(server, service, view))
    if view.quorum:
        return weight >= max(health.quorum - health.hysteresis, 1)
    return weight >= health.quorum + health.hysteresis


def weight_of(server: Server, service: Service, view: View, now: float) -> int:
    """Return the weight of a server that is up: what it asked for, and in a slow start a part of that."""
    verdict = view.servers.get(server.key)
    if verdict is None:
        return server.weight
    weight = server.weight if verdict.weight is None else verdict.weight
    return slowed(weight, ramp(service, verdict, now))


def ramp(service: Service, verdict: Verdict, now: float) -> int:
    """Return how far the slow start of a server is, in steps of `STEPS`."""
    span = (service.health or _NONE).slow_start
    if not span or not verdict.up or not verdict.since or now >= verdict.since + span:
        return STEPS
    return max(int((now - verdict.since) / span * STEPS), 0)


def slowed(weight: int, step: int) -> int:
    """Return the part of *weight* that a server has at this step; never 0 but for weight 0."""
    return weight if step >= STEPS or weight <= 1 else max(weight * (step + 1) // (STEPS + 1), 1)


def effective(service: Service, view: View, now: float) -> Service:
    """Return the service as it is to be put in force."""
    if not is_checked(service) and not view.drained:
        return service
    if service.sorry_server is not None and not has_quorum(service, view, now):
        return replace(service, servers=(service.sorry_server,))
    servers = []
    for server in service.servers:
        own = server.health.inhibit if server.health else None
        inhibit = (service.health or _NONE).inhibit if own is None else own
        if server.key in view.drained:
            servers.append(replace(server, weight=0))
        elif is_up(server, service, view):
            servers.append(replace(server, weight=weight_of(server, service, view, now)))
        elif inhibit:
            servers.append(replace(server, weight=0))
    return replace(service, servers=tuple(servers))
