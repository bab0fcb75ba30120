"""The director itself: what it does with packets, and what it can be told to do."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from xlvs.daemon.api.answers import READING, TELLING, WRITING, answer, errors
from xlvs.daemon.api.changes import Changed, Context, Write
from xlvs.daemon.api.services import find
from xlvs.daemon.api.types import Timeout
from xlvs.health.checker import ServerState
from xlvs.model.defences import MODES
from xlvs.model.sysctls import SYSCTLS, lookup, read


class InterfaceView(msgspec.Struct, frozen=True):
    """An interface, the hook xlvs works on there, and why that one."""

    name: str
    hook: str
    why: str


@get("/v1/drops", operation_id="getDrops", summary="Show why packets were dropped", responses=errors(*READING))
async def get_drops(state: Context) -> dict[str, int]:
    """Return how many packets were dropped, by reason."""
    return state.director.engine.kernel.reasons()


@get("/v1/counters", operation_id="getCounters", summary="Show what was counted", responses=errors(*READING))
async def get_counters(state: Context) -> dict[str, int]:
    """Return the counters of the whole director."""
    return state.director.engine.kernel.counters()


@get("/v1/health", operation_id="listHealth", summary="List the health of servers", responses=errors(*READING))
async def list_health(state: Context) -> list[ServerState]:
    """Return the state of every server of a service with health checks."""
    return state.director.health()


@get("/v1/interfaces", operation_id="listInterfaces", summary="List the interfaces", responses=errors(*READING))
async def list_interfaces(state: Context) -> list[InterfaceView]:
    """Return the interfaces of the host and how xlvs works on each."""
    return [InterfaceView(row["name"], row["hook"], row["why"]) for row in state.director.interfaces()]


@get("/v1/timeouts", operation_id="getTimeouts", summary="Show the timeouts", responses=errors(*READING))
async def get_timeouts(state: Context) -> Response[dict[str, int]]:
    """Return after how many idle seconds flows end."""
    have = state.director.engine.state
    return answer(have.timeouts, have.generation)


class TimeoutsPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Seconds after which idle flows end: of TCP connections, of those one side has closed, of UDP."""

    tcp: Timeout | UnsetType = UNSET
    tcpfin: Timeout | UnsetType = UNSET
    udp: Timeout | UnsetType = UNSET


@patch("/v1/timeouts", operation_id="patchTimeouts", summary="Change the timeouts", responses=errors(*WRITING))
async def patch_timeouts(data: JSONBody[TimeoutsPatch], write: NamedDependency[Write]) -> Response[Changed]:
    """Change some of the timeouts; flows that are there go by the new ones at once."""
    given = {word: getattr(data, word) for word in data.__struct_fields__ if getattr(data, word) is not UNSET}
    found = write.commit(replace(write.have, timeouts={**write.have.timeouts, **given}), [])
    return answer(found, found.generation)


class SysctlView(msgspec.Struct, frozen=True):
    """A switch of IPVS; *lacks* says why it does nothing in xlvs, empty: it does."""

    name: str
    value: str
    default: str
    text: str
    lacks: str


@get("/v1/sysctls", operation_id="listSysctls", summary="Show the sysctls", responses=errors(*READING))
async def list_sysctls(state: Context) -> Response[list[SysctlView]]:
    """Return the switches that IPVS has under net/ipv4/vs, and what they are."""
    have, now = state.director.engine.state, state.director.sysctls()
    values = {**have.sysctls, **{name: now[name] for name in MODES if name in now}}
    views = [SysctlView(s.name, values.get(s.name, s.default), s.default, s.text, s.lacks) for s in SYSCTLS.values()]
    return answer(views, have.generation)


@patch("/v1/sysctls", operation_id="patchSysctls", summary="Write sysctls", responses=errors(*WRITING))
async def patch_sysctls(data: JSONBody[dict[str, str]], write: NamedDependency[Write]) -> Response[Changed]:
    """Write some switches, all of them or none."""
    written = {lookup(name).name: read(name, text) for name, text in data.items()}
    found = write.commit(write.have.with_sysctls(written), [])
    return answer(found, found.generation)


@get("/v1/status", operation_id="getStatus", summary="Show the daemon", responses=errors(*READING))
async def get_status(state: Context) -> Response[dict[str, Any]]:
    """Return what this daemon is: instance, pid, version, ABI, flows; and its warnings."""
    director = state.director
    kernel, generation = director.engine.kernel, director.engine.state.generation
    loads = kernel.loads(director.engine.end("server"))
    status = {
        **director.facts(),
        "generation": generation,
        "flows": int(loads[:, :2].sum()),
        "spilled_flows": kernel.flows.spilled,
        "max_flows": kernel.flows.room[4],
        "max_flows6": kernel.flows.room[6],
        "warnings": director.warnings(),
    }
    return answer(status, generation)


@post("/v1/zero", operation_id="zero", summary="Zero the counters", responses=errors(*TELLING, 404), status_code=200)
async def zero(
    state: Context,
    write: NamedDependency[Write],
    service: Annotated[str | None, QueryParameter(description="A service's id or name; all without it.")] = None,
) -> Response[Changed]:
    """Let the counters of a service and its servers, or of all, start from zero."""
    engine = state.director.engine
    keys = list(engine.state.services) if service is None else [find(engine.state, service)]
    if not write.dry_run:
        engine.zero(keys)
    return answer(Changed(engine.state.generation, []), engine.state.generation)


@post(
    "/v1/reload", operation_id="reload", summary="Read the file again", responses=errors(*TELLING, 403, 409),
    status_code=200,
)  # fmt: skip
async def reload(state: Context, write: NamedDependency[Write]) -> Response[Changed]:
    """Do what SIGHUP does."""
    if not write.dry_run:
        state.director.reload()
    generation = state.director.engine.state.generation
    return answer(Changed(generation, []), generation)


@post("/v1/stop", operation_id="stop", summary="End the daemon", responses=errors(*TELLING), status_code=202)
async def stop(
    state: Context,
    write: NamedDependency[Write],
    purge: Annotated[
        bool, QueryParameter(description="Remove programs, maps, configuration and sysctls, too.")
    ] = False,
) -> Response[Changed]:
    """End the daemon once this is answered; packets go on, unless it is a purge."""
    generation = state.director.engine.state.generation
    if not write.dry_run:
        state.director.stop(purge=purge)
    return answer(Changed(generation, []), generation, 202)


HANDLERS = [
    get_drops, get_counters, list_health, list_interfaces, get_timeouts, patch_timeouts, list_sysctls, patch_sysctls,
    get_status, zero, reload, stop,
]  # fmt: skip
