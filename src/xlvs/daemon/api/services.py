"""``/v1/services``: the virtual services, one by one or all, and their real servers."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from xlvs.daemon import views
from xlvs.daemon.api import edits
from xlvs.daemon.api.answers import READING, WRITING, answer, errors
from xlvs.daemon.api.changes import Changed, Context, Write
from xlvs.daemon.api.types import ServerBody, ServerPatch, ServiceBody, ServicePatch, read_endpoint
from xlvs.daemon.views import ServiceView
from xlvs.errors import InvalidError, NoSuchServerError, NoSuchServiceError
from xlvs.health.checker import ServerState
from xlvs.model import ServiceKey, State, endpoint
from xlvs.plan.admission import admit_name

Id = Annotated[
    str, PathParameter(description="A service's id, `tcp:192.0.2.1:80` or `udp:[2001:db8::1]:53`, or its name.")
]
ServerId = Annotated[str, PathParameter(description="Address and port: `10.0.0.1:80`, `[2001:db8::1]:80`.")]
Asked = NamedDependency[Write]
Counters = Annotated[
    Literal["true", "connections", "false"],
    QueryParameter(description="Count everything, the connections of the servers, or nothing."),
]

_DETAIL: dict[str, views.Detail] = {"true": "all", "connections": "connections", "false": "none"}


class ServiceList(msgspec.Struct, frozen=True):
    """All services, in the order in which they were added."""

    generation: int
    services: list[ServiceView]


def find(state: State, word: str) -> ServiceKey:
    """Return the service of this id or name; raises `NoSuchServiceError`, `InvalidError`."""
    return state.service(ServiceKey.parse(word)).key if ":" in word else state.find(word).key


@get("/v1/services", operation_id="listServices", summary="List the services", responses=errors(*READING))
async def list_services(state: Context, counters: Counters = "true") -> Response[ServiceList]:
    """Return every service with its servers and what is counted of them."""
    engine = state.director.engine
    generation = engine.state.generation
    return answer(ServiceList(generation, views.services(engine, _DETAIL[counters])), generation)


@get("/v1/services/{id:str}", operation_id="getService", summary="Show a service", responses=errors(*READING, 404))
async def get_service(state: Context, id: Id, counters: Counters = "true") -> Response[ServiceView]:
    """Return one service with its servers and what is counted of them."""
    engine = state.director.engine
    view = views.service(engine, find(engine.state, id), _DETAIL[counters])
    return answer(view, engine.state.generation)


@post("/v1/services", operation_id="addService", summary="Add a service", responses=errors(*WRITING, 409))
async def add_service(data: JSONBody[ServiceBody], write: Asked) -> Response[Changed]:
    """Add a service with its servers; it must not exist."""
    service = data.service(write.owner)
    new = write.have.add_service(service)
    admit_name(write.have, service)
    return _answer(write.commit(new, [service.key]), 201, Location=f"/v1/services/{service.key.id}")


@put("/v1/services/{id:str}", operation_id="putService", summary="Set a service", responses=errors(*WRITING, 409))
async def put_service(id: Id, data: JSONBody[ServiceBody], write: Asked) -> Response[Changed]:
    """Let a service be exactly as given, servers included, whether it exists or not."""
    service = data.service(write.owner)
    try:
        key = find(write.have, id)
    except NoSuchServiceError:
        key = ServiceKey.parse(id) if ":" in id else service.key
        if ":" not in id and service.name != id:
            raise
    if key != service.key:
        raise InvalidError(f"{id} listens on {key}, and the body says {service.key}; delete one and add the other")
    admit_name(write.have, service)
    return _answer(write.commit(edits.put_service(write.have, service, force=write.force), [key]))


@patch("/v1/services/{id:str}", operation_id="patchService", summary="Edit a service", responses=errors(*WRITING, 409))
async def patch_service(id: Id, data: JSONBody[ServicePatch], write: Asked) -> Response[Changed]:
    """Change some fields of a service (JSON merge patch, RFC 7396)."""
    key = find(write.have, id)
    service = data.apply(write.have.service(key))
    admit_name(write.have, service)
    fields = {name: getattr(service, name) for name in data.__struct_fields__}
    return _answer(write.commit(write.have.edit_service(key, **fields), [key]))


@delete(
    "/v1/services/{id:str}",
    operation_id="deleteService",
    summary="Delete a service",
    responses=errors(*WRITING),
    status_code=200,
)
async def delete_service(id: Id, write: Asked) -> Response[Changed]:
    """Delete a service with its servers; its flows go on to their end."""
    key = find(write.have, id)
    return _answer(write.commit(write.have.delete_service(key, owner=write.asking), [key]))


@delete(
    "/v1/services",
    operation_id="flush",
    summary="Delete all services of an owner",
    responses=errors(*WRITING),
    status_code=200,
)
async def flush(write: Asked) -> Response[Changed]:
    """Delete all that belongs to the owner, or, forced, everything; `remaining` is how many services are left."""
    new = edits.flush(write.have, write.owner, force=write.force)
    return _answer(msgspec.structs.replace(write.commit(new), remaining=len(new.services)))


@post(
    "/v1/services/{id:str}/servers", operation_id="addServer", summary="Add a server", responses=errors(*WRITING, 409)
)
async def add_server(id: Id, data: JSONBody[ServerBody], write: Asked) -> Response[Changed]:
    """Add a real server to a service; it must not be there."""
    key = find(write.have, id)
    server = data.server(write.owner)
    changed = write.commit(write.have.add_server(key, server), [key])
    return _answer(changed, 201, Location=f"/v1/services/{key.id}/servers/{server}")


@put(
    "/v1/services/{id:str}/servers/{server:str}",
    operation_id="putServer",
    summary="Set a server",
    responses=errors(*WRITING),
)
async def put_server(id: Id, server: ServerId, data: JSONBody[ServerBody], write: Asked) -> Response[Changed]:
    """Let a real server be exactly as given, whether it is there or not."""
    key, given = find(write.have, id), data.server(write.owner)
    if given.key != read_endpoint(server):
        raise InvalidError(f"the body says {given}, and the path {server}; delete one and add the other")
    return _answer(write.commit(edits.put_server(write.have, key, given, force=write.force), [key]))


@patch(
    "/v1/services/{id:str}/servers/{server:str}",
    operation_id="patchServer",
    summary="Edit a server",
    responses=errors(*WRITING),
)
async def patch_server(id: Id, server: ServerId, data: JSONBody[ServerPatch], write: Asked) -> Response[Changed]:
    """Change some fields of a real server (JSON merge patch, RFC 7396)."""
    key, server_key = find(write.have, id), read_endpoint(server)
    have = write.have.service(key).server(server_key)
    if have is None:
        raise NoSuchServerError(f"virtual service {key} has no real server {endpoint(*server_key)}")
    return _answer(write.commit(write.have.edit_server(key, data.apply(have)), [key]))


@delete(
    "/v1/services/{id:str}/servers/{server:str}",
    operation_id="deleteServer",
    summary="Delete a server",
    responses=errors(*WRITING),
    status_code=200,
)
async def delete_server(id: Id, server: ServerId, write: Asked) -> Response[Changed]:
    """Delete a real server; packets of its flows are dropped until it is back, as in IPVS."""
    key = find(write.have, id)
    return _answer(write.commit(write.have.delete_server(key, read_endpoint(server), owner=write.asking), [key]))


@put(
    "/v1/services/{id:str}/servers/{server:str}/drain",
    operation_id="drainServer",
    summary="Drain a server",
    responses=errors(*WRITING),
)
async def drain_server(state: Context, id: Id, server: ServerId, write: Asked) -> list[ServerState]:
    """Let a server take no new connections, whatever else is changed, until that is taken back; return its health."""
    return _drain(state, id, server, on=True, dry=write.dry_run)


@delete(
    "/v1/services/{id:str}/servers/{server:str}/drain",
    operation_id="undrainServer",
    summary="Have a server in service again",
    responses=errors(*WRITING),
    status_code=200,
)
async def undrain_server(state: Context, id: Id, server: ServerId, write: Asked) -> list[ServerState]:
    """Take a drain back."""
    return _drain(state, id, server, on=False, dry=write.dry_run)


def _drain(state: Context, word: str, text: str, *, on: bool, dry: bool) -> list[ServerState]:
    have, server_key = state.director.engine.state, read_endpoint(text)
    service = have.service(find(have, word))
    server = service.server(server_key)
    if server is None:
        raise NoSuchServerError(f"virtual service {service.title} has no real server {endpoint(*server_key)}")
    if not dry:
        state.director.drain(service, server, on=on)
    title = service.name or service.key.id
    return [one for one in state.director.health() if (one.service, one.server) == (title, str(server))]


def _answer(changed: Changed, status: int = 200, **headers: str) -> Response[Changed]:
    return answer(changed, changed.generation, status, **headers)


HANDLERS = [
    list_services,
    get_service,
    add_service,
    put_service,
    patch_service,
    delete_service,
    flush,
    add_server,
    put_server,
    patch_server,
    delete_server,
    drain_server,
    undrain_server,
]
