"""A write: who asks, on what condition, and what becomes of it.

Every write goes one way: the condition is checked, the edit made on the frozen
state, the services it touches admitted, the engine told, the watchers told.
A dry run ends before the engine.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Protocol

import msgspec
from litestar.datastructures import State as AppState
from litestar.params import HeaderParameter, QueryParameter
from msgspec import UNSET, UnsetType

from xlvs.config import Difference, differences
from xlvs.daemon import views
from xlvs.daemon.api import edits
from xlvs.daemon.api.problems import StaleError
from xlvs.daemon.api.watch import Watchers, encode
from xlvs.errors import InvalidError
from xlvs.health.checker import Event, ServerState
from xlvs.model import Server, Service, ServiceKey, State, codec
from xlvs.plan.admission import admit

_ENTITY_TAGS = r'^(\*|(W/)?"[^"]*"(\s*,\s*(W/)?"[^"]*")*)$'
"""RFC 9110 §8.8.3, §13.1.1."""


class Engine(views.Engine, Protocol):
    """What the API needs of `xlvs.daemon.engine.Engine`."""

    def apply(self, new: State, keys: Collection[ServiceKey] | None = None) -> None:
        """Put *new* in force as the next generation, all of it or nothing; *keys* may differ from the present."""

    def zero(self, keys: Collection[ServiceKey]) -> None:
        """Let the counters of these services start from zero."""


class Director(Protocol):
    """What the API needs of the daemon."""

    @property
    def engine(self) -> Engine:
        """The state and what is measured of it."""

    def facts(self) -> dict[str, Any]:
        """Return what `GET /v1/status` says beside flows, generation and warnings: instance, pid, version, ..."""

    def health(self) -> list[ServerState]:
        """Return what is known of the servers that are checked."""

    def drain(self, service: Service, server: Server, *, on: bool) -> None:
        """Let a server take no new connections, or have it in service again."""

    def interfaces(self) -> list[dict[str, Any]]:
        """Return name, hook and why of each interface."""

    def sysctls(self) -> dict[str, str]:
        """Return the sysctls that are not at their default, as they are in force at this moment."""

    def warnings(self) -> list[str]:
        """Return what will break a method in use."""

    def changed(self, keys: Collection[ServiceKey] | None = None) -> None:
        """Do what follows a change of the state, in which these services are others now; None: any."""

    def reload(self) -> None:
        """Do what SIGHUP does; raises `XlvsError`."""

    def stop(self, *, purge: bool) -> None:
        """End once the answer to this request is on its way; with *purge* remove every trace first."""


class Context(AppState):
    """What every handler has at hand."""

    director: Director
    watchers: Watchers


class Change(msgspec.Struct, frozen=True):
    """What watchers are told: the state is now of *generation*, since *owner* changed this in it."""

    generation: int
    owner: str
    differences: list[Difference]


class Changed(msgspec.Struct, frozen=True):
    """The answer to a write: the generation of the state, and what was changed, or would be by a dry run.

    *differences* is empty if they were not asked for.  *remaining* is how many services others keep after a flush.
    """

    generation: int
    differences: list[Difference]
    remaining: int | UnsetType = UNSET


class Write:
    """One write, and the state *have* that it begins from; *asking* is who must own what it deletes, None: nobody."""

    def __init__(self, context: Context, owner: str, *, force: bool, dry_run: bool, told: bool) -> None:
        self.owner = owner
        self.force = force
        self.asking = None if force else owner
        self.have = context.director.engine.state
        self._context = context
        self.dry_run = dry_run
        self._told = told or dry_run

    def commit(self, new: State, keys: Collection[ServiceKey] | None = None) -> Changed:
        """Put *new* in force, in which *keys* may differ from before (None: any); raises `XlvsError`."""
        have, engine = self.have, self._context.director.engine
        if keys is None:
            touched = edits.differing(have, new)
        else:
            touched = [key for key in keys if have.services.get(key) != new.services.get(key)]
        for key in touched:
            if key in new.services:
                admit(new.services[key])
        watchers = self._context.watchers
        found = []
        if self._told or len(watchers):
            found = differences(edits.part(have, touched), edits.part(new, touched))
        if self.dry_run or not touched and msgspec.structs.replace(new, services=have.services) == have:
            return Changed(have.generation, found)
        engine.apply(new, touched)
        self._context.director.changed(touched)
        publish(watchers, Change(engine.state.generation, self.owner, found))
        return Changed(engine.state.generation, found)


def provide_write(
    state: AppState,
    owner: Annotated[str, QueryParameter(description="Whose it becomes that is written.", min_length=1)] = "api",
    force: Annotated[bool, QueryParameter(description="Delete or take over what belongs to others.")] = False,
    dry_run: Annotated[
        bool, QueryParameter(name="dry-run", description="Say what would be changed, and change nothing.")
    ] = False,
    told: Annotated[
        bool, QueryParameter(name="differences", description="Say what was changed; of many services it takes long.")
    ] = True,
    if_match: Annotated[
        str | None,
        HeaderParameter(
            name="If-Match",
            description='Fail with 412 unless the state is of this generation: "17".',
            pattern=_ENTITY_TAGS,
        ),
    ] = None,
) -> Write:
    """Return the write that a request asks for; raises `StaleError`."""
    context: Context = state  # type: ignore[assignment]
    check_match(if_match, context.director.engine.state.generation)
    if not owner.isprintable():
        raise InvalidError(f"the owner {owner!r} is no word that can be printed")
    return Write(context, owner, force=force, dry_run=dry_run, told=told)


def check_match(if_match: str | None, generation: int) -> None:
    """Refuse unless the state is of a generation that *if_match* names (RFC 9110 §13.1.1); raises `StaleError`."""
    if if_match is None:
        return
    tags = [tag.strip() for tag in if_match.split(",")]
    if etag(generation) not in tags and "*" not in tags:
        raise StaleError(f"the state has changed: it is of generation {generation}, not {if_match}; look again")


def etag(generation: int) -> str:
    """Return the entity tag of the state of this *generation*."""
    return f'"{generation}"'


def publish(watchers: Watchers, change: Change) -> None:
    """Tell the *watchers* of a *change*."""
    if len(watchers):
        watchers.publish(encode("change", change.generation, codec.encode(change)))


def tell(watchers: Watchers, event: Event, generation: int) -> None:
    """Tell the *watchers* what happened to a server, in the state of *generation*."""
    if len(watchers):
        watchers.publish(encode("health", generation, codec.encode(event)))
