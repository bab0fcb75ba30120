"""``/v1/flows``: the flows, as many as there may be, and how many they are.

Both are read from the mapped table while they are answered.  Neither is a
picture of one moment, as flows come and go meanwhile.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream
from msgspec import UNSET, UnsetType

from xlvs.daemon.api.answers import READING, errors
from xlvs.daemon.api.changes import Context
from xlvs.daemon.api.table import listing
from xlvs.daemon.api.table.tally import Tally
from xlvs.daemon.api.table.wanted import PROTOCOLS, STATE_NAMES
from xlvs.daemon.views import Array
from xlvs.dataplane.flows import AGES, Counts, Filter
from xlvs.errors import InvalidError
from xlvs.model import Address

ROWS = 1000
"""Servers, and prefixes of clients, that a count names unless asked for more or fewer."""

_JSON, _CSV = "application/json", "text/csv"
_GROUPING = re.compile(r"client(?:/([0-9]{1,3})(?:/([0-9]{1,3}))?)?")
_EVERY = 16
"""Parts of the table that are counted before others may work."""

End = tuple[str, int]


class FlowView(msgspec.Struct, frozen=True):
    """A flow; an end is (address, port), *bytes* in and out, *expires_s* how long it may still be idle."""

    protocol: str
    state: str
    expires_s: int
    client: End
    virtual: End
    server: End
    bytes: tuple[int, int]
    idle_s: int


class ServerCount(msgspec.Struct, frozen=True):
    """How many flows a server has in a service."""

    protocol: str
    virtual: End
    server: End
    flows: int


class AgeCount(msgspec.Struct, frozen=True):
    """How many flows have been idle for *from_s* seconds or more and less than *to_s* (null: no limit)."""

    from_s: int
    to_s: int | None
    flows: int


class ClientCount(msgspec.Struct, frozen=True):
    """How many flows the clients of a prefix have."""

    client: str
    flows: int


class FlowCounts(msgspec.Struct, frozen=True):
    """How many flows there are; *clients* only if they were asked for.

    Of servers and clients those with most flows are named, first; *more_servers* and *more_clients* are how many
    are not.
    """

    flows: int
    states: dict[str, int]
    ages: list[AgeCount]
    servers: list[ServerCount]
    more_servers: int
    clients: list[ClientCount] | UnsetType = UNSET
    more_clients: int | UnsetType = UNSET


_LISTED = ResponseSpec(
    list[FlowView],
    description="The flows, one a line; with `Accept: text/csv` the same as CSV.",
    generate_examples=False,
)


@get(
    "/v1/flows",
    operation_id="listFlows",
    summary="List the flows",
    responses={200: _LISTED, **errors(*READING, 404)},
)
async def list_flows(
    request: Request[Any, Any, Any],
    state: Context,
    wanted: NamedDependency[Filter],
    sort: Annotated[
        Literal["bytes"] | None,
        QueryParameter(description=f"Those with most bytes first, at most {listing.MOST_SORTED}."),
    ] = None,
    limit: Annotated[int | None, QueryParameter(ge=0, description="So many at most.")] = None,
    fields: Annotated[
        str | None, QueryParameter(description="Of CSV: these columns, as `client,in_bytes`, in this order.")
    ] = None,
) -> Stream:
    """Return the flows that are not expired, in no order unless sorted; the answer begins before all are read."""
    if sort is not None and limit is not None and limit > listing.MOST_SORTED:
        raise InvalidError(f"limit={limit} is more than are sorted; ask for {listing.MOST_SORTED} at most, or unsorted")
    best = request.accept.best_match([_JSON, _CSV], default=_JSON)
    engine, largest = state.director.engine, sort is not None
    if best == _CSV:
        lines = listing.csv(engine, wanted, limit, largest=largest, fields=_fields(fields))
    elif fields is not None:
        raise InvalidError("fields chooses the columns of CSV; ask for it with `Accept: text/csv`")
    else:
        lines = listing.json(engine, wanted, limit, largest=largest)
    return Stream(lines, media_type=best or _JSON)


@get(
    "/v1/flows/count",
    operation_id="countFlows",
    summary="Count the flows",
    responses=errors(*READING, 404),
)
async def count_flows(
    state: Context,
    wanted: NamedDependency[Filter],
    by: Annotated[
        str | None,
        QueryParameter(description="`client`: also by client prefix, /24 and /64; `client/16/48` for others."),
    ] = None,
    limit: Annotated[int, QueryParameter(ge=0, description="So many servers, and prefixes, are named at most.")] = ROWS,
) -> FlowCounts:
    """Return how many flows there are, by state, idle time and server."""
    engine = state.director.engine
    tally = None if by is None else Tally(*_grouping(by))
    found = Counts(servers=np.zeros(engine.end("server"), np.int64))
    for number, part in enumerate(engine.kernel.flows.parts(wanted)):
        found.add(part)
        if tally is not None:
            tally.add(part.clients())
        if number % _EVERY == 0 or tally is not None:
            await asyncio.sleep(0)
    servers, more = _busiest(engine.layout.rows, found.servers, limit)
    clients, others = tally.largest(limit) if tally else ([], 0)
    return FlowCounts(
        found.flows,
        _by_name(found.states.tolist()),
        [AgeCount(*row) for row in zip((0, *AGES), (*AGES, None), found.ages.tolist(), strict=True)],
        servers,
        more,
        [ClientCount(*row) for row in clients] if tally else UNSET,
        others if tally else UNSET,
    )


def _by_name(states: Sequence[int]) -> dict[str, int]:
    """Return how many flows are in the states of each name."""
    found: dict[str, int] = {}
    for number, name in STATE_NAMES.items():
        if states[number]:
            found[name] = found.get(name, 0) + states[number]
    return found


def _fields(words: str | None) -> Sequence[str]:
    """Return the columns that are asked for; raises `InvalidError`."""
    found = listing.FIELDS if words is None else words.split(",")
    for name in found:
        if name not in (*listing.FIELDS, listing.CALL):
            raise InvalidError(f"flows have no column {name!r} (one of {', '.join((*listing.FIELDS, listing.CALL))})")
    return found


def _grouping(by: str) -> tuple[int, int]:
    """Return the bits of prefixes that ``client/24/64`` asks for, of IPv4 and IPv6; raises `InvalidError`."""
    found = _GROUPING.fullmatch(by)
    short, long = (int(bits or most) for bits, most in zip(found.groups(), (24, 64), strict=True)) if found else (-1, 0)
    if not 0 <= short <= 32 or not 0 <= long <= 128:
        raise InvalidError(f"flows are not counted by {by!r}; write client, client/24 or client/24/64")
    return short, long


def _busiest(rows: Array, counts: Array, limit: int) -> tuple[list[ServerCount], int]:
    """Return the servers with most flows, and how many others have some."""
    numbers = np.flatnonzero(counts)
    order = numbers[np.argsort(-counts[numbers], kind="stable")][:limit]
    found = [
        ServerCount(
            PROTOCOLS.get(int(row["proto"]), str(row["proto"])),
            (str(Address(row["virt"].tobytes())), int(row["vport"])),
            (str(Address(row["addr"].tobytes())), int(row["port"])),
            int(counts[number]),
        )
        for number, row in zip(order.tolist(), rows[order], strict=True)
    ]
    return found, len(numbers) - len(order)


HANDLERS = [list_flows, count_flows]
