"""Flows as text: JSON, one flow a line, or CSV, thousands of them at once.

The list is written while it is read, a part of the table at a time: it takes
the memory of one part, and between two parts the daemon does other things.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import numpy as np

from xlvs.daemon import views
from xlvs.daemon.api.table import columns
from xlvs.daemon.api.table.columns import Cells
from xlvs.daemon.api.table.wanted import PROTOCOLS, STATE_NAMES
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import Filter, is_template, protocols

Array = views.Array

MOST_SORTED = 100_000
"""How many flows are sorted at most: that many records are kept in memory."""

FIELDS = ("protocol", "state", "expires_s", "client", "virtual", "server", "in_bytes", "out_bytes", "idle_s")
"""The columns of CSV; `CALL` only if it is asked for."""

CALL = "call"
"""The Call-ID of a template that has one."""

Calls = Mapping[bytes, tuple[bytes, bytes]]
"""Client and Call-ID by the digest that stands for both in a template."""

_FEW, _MANY = 4096, 16384
"""Rows whose text is made at once: as many as these at least, unless there are no more, and at most."""

_PROTOCOLS = columns.texts([PROTOCOLS.get(number, str(number)) for number in range(256)])
_STATES = columns.texts([STATE_NAMES.get(number, str(number)) for number in range(256)])


async def json(engine: views.Engine, wanted: Filter, limit: int | None, *, largest: bool) -> AsyncIterator[bytes]:
    """Yield a JSON array of the flows that are *wanted*, each in a line of its own, *limit* at most.

    With *largest* those with most bytes come first.
    """
    begun = False
    async for records in _flows(engine, wanted, limit, largest=largest):
        rows = _json_rows(_Cells(records, engine.layout.rows, engine.kernel.flows.hz(), engine.kernel.calls()))
        yield rows if begun else b"[" + rows[1:]
        begun = True
    yield b"\n]\n" if begun else b"[]\n"


async def csv(
    engine: views.Engine, wanted: Filter, limit: int | None, *, largest: bool, fields: Sequence[str] = FIELDS
) -> AsyncIterator[bytes]:
    """Yield the same as CSV with a header (RFC 4180, but for its line ends), only these *fields*."""
    yield ",".join(fields).encode() + b"\n"
    async for records in _flows(engine, wanted, limit, largest=largest):
        cells = _Cells(records, engine.layout.rows, engine.kernel.flows.hz(), engine.kernel.calls())
        yield _csv_rows(cells, fields)


async def _flows(engine: views.Engine, wanted: Filter, limit: int | None, *, largest: bool) -> AsyncIterator[Array]:
    """Yield the records of the flows, a few thousand at a time."""
    left = limit
    batches = _sorted(engine, wanted, limit) if largest else _batches(engine, wanted)
    async for records in batches:
        for begin in range(0, len(records), _MANY):
            some = records[begin : begin + _MANY][:left]
            if len(some):
                yield some
            if left is not None:
                left -= len(some)
        if left == 0:
            return


async def _batches(engine: views.Engine, wanted: Filter) -> AsyncIterator[Array]:
    """Yield the records in the order of the table, letting others work in between."""
    kept: list[Array] = []
    for part in engine.kernel.flows.parts(wanted):
        if len(part):
            kept.append(part.records())
        if sum(map(len, kept)) >= _FEW:
            yield np.concatenate(kept)
            kept.clear()
        await asyncio.sleep(0)
    if kept:
        yield np.concatenate(kept)


async def _sorted(engine: views.Engine, wanted: Filter, limit: int | None) -> AsyncIterator[Array]:
    """Yield the records with most bytes, the largest first."""
    most = min(MOST_SORTED, MOST_SORTED if limit is None else limit)
    kept: list[Array] = []
    async for records in _batches(engine, wanted):
        kept.append(records)
        if sum(map(len, kept)) > 2 * most + _MANY:
            kept = [_largest(np.concatenate(kept), most)]
    if kept:
        yield _largest(np.concatenate(kept), most)


def _largest(records: Array, most: int) -> Array:
    order = np.argsort(records["in_bytes"] + records["out_bytes"], kind="stable")[::-1]
    return records[order[:most]]


class _Cells:
    """The columns of flows, by name, from *records*, the rows of all *servers* and how many jiffies a second has.

    *calls* say what templates stand for that go by the Call-ID.
    """

    def __init__(self, records: Array, servers: Array, hz: int, calls: Calls) -> None:
        self._records = records
        self._calls: dict[int, bytes] = {}
        if calls:
            self._resolve(calls)
        self._servers = np.take(servers, records["server"].astype(np.intp))
        self._hz = np.uint32(hz)

    def _resolve(self, calls: Calls) -> None:
        """Put the clients into templates, and note the Call-IDs, by row."""
        self._records = self._records.copy()
        clients = self._records["client"]
        for row in np.flatnonzero(is_template(self._records)).tolist():
            found = calls.get(clients[row].tobytes())
            if found:
                client, self._calls[row] = found
                clients[row] = np.frombuffer(client, clients.dtype)[0]

    def __call__(self, name: str) -> list[Cells]:
        """Return one column, or address and port of one end."""
        records, servers = self._records, self._servers
        match name:
            case "protocol":
                return [columns.pick(_PROTOCOLS, protocols(records).astype(np.intp))]
            case "state":
                return [columns.pick(_STATES, records["state"].astype(np.intp))]
            case "expires_s":
                return [columns.decimals(records["left"] // self._hz)]
            case "idle_s":
                return [columns.decimals(records["idle"] // self._hz)]
            case "client":
                return _end(records["client"], np.where(is_template(records), 0, records["cport"]))
            case "virtual":
                return _end(records["virt"], records["vport"])
            case "server":
                return _end(servers["addr"], _server_ports(servers, records["vport"]))
            case "call":
                found = np.array([self._calls.get(row, b"") for row in range(len(records))])
                return [found.view(np.uint8).reshape(len(records), -1)]
            case "in_bytes":
                return [columns.decimals(np.where(is_template(records), 0, records["in_bytes"]))]
            case _:
                return [columns.decimals(records[name])]


def _server_ports(servers: Array, vports: Array) -> Array:
    """Return the real servers' ports for flows of these virtual ports (``real_port`` in ``bpf/buckets.h``)."""
    data = (servers["flags"] & abi.SERVER_FTP != 0) & (vports != servers["vport"])
    active = data & (vports.astype(np.uint32) + 1 == servers["vport"])
    kept = np.where(_keeps_port(servers) | data, vports, servers["port"])
    return np.where(active, servers["port"] - 1, kept)


def _keeps_port(servers: Array) -> Array:
    """Say which servers are reached at the port that the client asked for."""
    found: Array = (servers["flags"] & abi.SERVER_ANY_PORT != 0) | (servers["port"] == 0)
    return found


def _end(addresses: Array, ports: Array) -> list[Cells]:
    words = np.ascontiguousarray(addresses).view("<u4").reshape(-1, 4)
    return [columns.addresses(words), columns.decimals(ports)]


def _json_rows(cells: _Cells) -> bytes:
    """Return a JSON object for each flow, with a comma and the end of a line before it."""
    between = iter(
        (
            b',\n{"protocol":"', b'","state":"', b'","expires_s":', b',"client":["', b'",', b'],"virtual":["', b'",',
            b'],"server":["', b'",', b'],"bytes":[', b",", b'],"idle_s":',
        )
    )  # fmt: skip
    pieces = [piece for name in FIELDS for column in cells(name) for piece in (next(between), column)]
    return columns.lines([*pieces, b"}"])


def _csv_rows(cells: _Cells, fields: Sequence[str]) -> bytes:
    """Return a line for each flow; ends are written as operators do."""
    pieces: list[bytes | Cells] = []
    for name in fields:
        first, *port = cells(name)
        pieces += [columns.bracketed(first), b":", port[0], b","] if port else [first, b","]
    return columns.lines([*pieces[:-1], b"\n"])
