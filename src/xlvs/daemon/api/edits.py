"""The edits of the state that the API knows beside those of the model: with owners, and of whole things.

Pure: each returns a new `State` or raises, so a refused edit changes nothing.
*owner* is who asks; *force* lets it have its way with what belongs to others.
"""

from __future__ import annotations

from msgspec.structs import replace

from xlvs.errors import OwnedError
from xlvs.model import Server, Service, ServiceKey, State


def put_service(state: State, service: Service, *, force: bool) -> State:
    """Return the state in which *service* is as given, new or not; raises `OwnedError`.

    Servers that stay keep their owners unless forced.
    """
    have = state.services.get(service.key)
    if have is None:
        return state.add_service(service)
    kept = {server.key: server.owner for server in have.servers}
    if not force:
        if have.owner != service.owner:
            raise OwnedError(_belongs(f"virtual service {service.title}", have.owner, service.owner))
        staying = {server.key for server in service.servers}
        for server in have.servers:
            if server.key not in staying and server.owner != service.owner:
                what = f"real server {server} of virtual service {service.title}"
                raise OwnedError(_belongs(what, server.owner, service.owner))
        servers = [replace(server, owner=kept.get(server.key, server.owner)) for server in service.servers]
        service = service.with_servers(tuple(servers))
    return replace(state, services={**state.services, service.key: service})


def put_server(state: State, key: ServiceKey, server: Server, *, force: bool) -> State:
    """Return the state in which *server* of the service *key* is as given; its owner stays unless forced."""
    service = state.service(key)
    if service.server(server.key) is None:
        return state.add_server(key, server)
    edited = state.edit_server(key, server)
    if not force:
        return edited
    servers = tuple(replace(s, owner=server.owner) if s.key == server.key else s for s in edited.service(key).servers)
    return replace(state, services={**state.services, key: service.with_servers(servers)})


def flush(state: State, owner: str, *, force: bool) -> State:
    """Return the state without all that is *owner*'s, or, forced, without any service.

    A service of *owner* stays while others have servers in it.
    """
    if force:
        return replace(state, services={})
    services = {}
    for key, service in state.services.items():
        servers = tuple(server for server in service.servers if server.owner != owner)
        if service.owner != owner or servers:
            services[key] = service if len(servers) == len(service.servers) else service.with_servers(servers)
    return replace(state, services=services)


def differing(have: State, want: State) -> list[ServiceKey]:
    """Return the services that are not the same in both."""
    gone = [key for key in have.services if key not in want.services]
    return gone + [key for key, service in want.services.items() if have.services.get(key) != service]


def part(state: State, keys: list[ServiceKey]) -> State:
    """Return the state of these services alone."""
    return replace(state, services={key: state.services[key] for key in keys if key in state.services})


def _belongs(what: str, owner: str, asking: str) -> str:
    return f"{what} belongs to {owner}, not to {asking}; change it there, or ask with force"
