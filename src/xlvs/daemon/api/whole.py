"""``/v1/config`` and ``/v1/watch``: the whole desired state, and whatever becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from litestar import Response, get, put
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody
from litestar.response import Stream

from xlvs.config import Document, merge
from xlvs.daemon import views
from xlvs.daemon.api.answers import READING, WRITING, answer, errors
from xlvs.daemon.api.changes import Changed, Context, Write
from xlvs.daemon.api.types import ConfigBody
from xlvs.daemon.views import ServiceView
from xlvs.errors import InvalidError
from xlvs.model import sysctls


class Config(msgspec.Struct, frozen=True):
    """The whole desired state, in the form in which it is put; `interfaces` null: xlvs chooses."""

    interfaces: dict[str, str] | None
    services: list[ServiceView]
    timeouts: dict[str, int]
    sysctls: dict[str, str]


@get("/v1/config", operation_id="getConfig", summary="Show the desired state", responses=errors(*READING))
async def get_config(state: Context) -> Response[Config]:
    """Return everything that is wanted, whoever wants it."""
    engine = state.director.engine
    have = engine.state
    wanted = Config(have.interfaces, views.services(engine, "none"), have.timeouts, have.sysctls)
    return answer(wanted, have.generation)


@put("/v1/config", operation_id="putConfig", summary="Set all that an owner wants", responses=errors(*WRITING, 409))
async def put_config(data: JSONBody[ConfigBody], write: NamedDependency[Write]) -> Response[Changed]:
    """Let the owner's services be exactly these; those of others stay.  All of it or nothing; a dry run is a plan."""
    services = tuple([body.service(write.owner) for body in data.services])
    if len({service.key for service in services}) < len(services):
        raise InvalidError("the body has a virtual service twice")
    interfaces: Any = data.interfaces
    written = {sysctls.lookup(name).name: sysctls.read(name, text) for name, text in data.sysctls.items()}
    document = Document(interfaces, services, {str(name): seconds for name, seconds in data.timeouts.items()}, written)
    new = merge(write.have, document, write.owner, take_over=write.force)
    changed = write.commit(new)
    return answer(changed, changed.generation)


@get(
    "/v1/watch",
    operation_id="watch",
    summary="Watch for changes",
    responses={
        200: ResponseSpec(
            str, description="Server-sent events.", media_type="text/event-stream", generate_examples=False
        ),
        **errors(*READING),
    },
)
async def watch(state: Context) -> Stream:
    """Send an event `change` per change: its id is the generation, its data generation, owner and differences.

    Comments in between show that the daemon is still there.
    """
    generation = state.director.engine.state.generation
    events: AsyncIterator[bytes] = state.watchers.stream(b": generation %d\n\n" % generation)
    return Stream(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


HANDLERS = [get_config, put_config, watch]
