"""Make a document part of the desired state: its owner's part becomes exactly the document, all else stays."""

from __future__ import annotations

from msgspec import UnsetType
from msgspec.structs import replace

from xlvs.config.load import Document
from xlvs.errors import OwnedError, ServiceExistsError
from xlvs.model.server import Server
from xlvs.model.service import Service, ServiceKey
from xlvs.model.state import State


def merge(state: State, document: Document, owner: str, *, take_over: bool = False) -> State:
    """Return *state* with the services of *owner* replaced by the document's.

    Services of others stay, and so do servers that others added to a service of
    *owner*.  What another owner has already raises `OwnedError`, unless
    *take_over*: then it becomes *owner*'s, a service with all the servers of its
    former owner.  A name that another's service has raises `ServiceExistsError`.
    Services that do not change are the same objects as in *state*.
    """
    wanted = {service.key: _owned(service, owner) for service in document.services}
    services: dict[ServiceKey, Service] = {}
    for key, have in state.services.items():
        want = wanted.pop(key, None)
        if want is not None:
            services[key] = _merge_service(have, want, owner, take_over=take_over)
        elif have.owner != owner:
            services[key] = have
        elif not take_over:
            _check_servers(have, owner)
    services.update(wanted)
    _check_names(services)
    interfaces = state.interfaces if isinstance(document.interfaces, UnsetType) else document.interfaces
    merged = state.with_sysctls(document.sysctls) if document.sysctls else state
    return replace(merged, services=services, interfaces=interfaces, timeouts={**state.timeouts, **document.timeouts})


def _owned(service: Service, owner: str) -> Service:
    """Return *service* with itself and all of its servers *owner*'s."""
    if service.owner != owner or any(server.owner != owner for server in service.servers):
        servers = tuple(replace(server, owner=owner) for server in service.servers)
        return replace(service, owner=owner, servers=servers)
    return service


def _merge_service(have: Service, want: Service, owner: str, *, take_over: bool) -> Service:
    if have.owner != owner and not take_over:
        raise OwnedError(
            f"virtual service {have.title} belongs to {have.owner}, not to {owner}; remove it there, or take it over"
        )
    if have == want:
        return have
    # Those of whom the service is taken from go with it.
    foreign = [server for server in have.servers if server.owner not in (owner, have.owner)]
    if foreign:
        want = want.with_servers((*want.servers, *_others(have, want, foreign, owner, take_over=take_over)))
    return have if have == want else want


def _others(have: Service, want: Service, foreign: list[Server], owner: str, *, take_over: bool) -> list[Server]:
    """Return the *foreign* servers that stay in the service; raises `OwnedError`."""
    mine = {server.key for server in want.servers}
    for server in foreign:
        if server.key in mine and not take_over:
            raise OwnedError(
                f"real server {server} of virtual service {have.title} belongs to {server.owner}, not to {owner}; "
                "remove it there, or take it over"
            )
    return [server for server in foreign if server.key not in mine]


def _check_servers(gone: Service, owner: str) -> None:
    """Refuse to remove a service in which others have servers."""
    for server in gone.servers:
        if server.owner != owner:
            raise OwnedError(
                f"virtual service {gone.title} cannot be removed: its real server {server} belongs to {server.owner}; "
                "remove that first, or take it over"
            )


def _check_names(services: dict[ServiceKey, Service]) -> None:
    names: dict[str, Service] = {}
    for service in services.values():
        if service.name and (other := names.setdefault(service.name, service)) is not service:
            raise ServiceExistsError(
                f"the name {service.name!r} is taken twice: by {other.key} of {other.owner} "
                f"and by {service.key} of {service.owner}; rename one"
            )
