"""Which flows a request means: the parameters that the list and the count of flows have in common.

They become a `Filter`, which is held against the mapped table: a flow that is
not meant never becomes an object.  Flows of a server that is not in the maps
any more are never meant.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from litestar.datastructures import State as AppState
from litestar.params import QueryParameter

from xlvs.daemon import views
from xlvs.daemon.api.changes import Context
from xlvs.daemon.api.types import read_endpoint
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import Filter
from xlvs.errors import InvalidError
from xlvs.model import Address, ServiceKey, State

Bools = npt.NDArray[np.bool_]

PROTOCOLS = {6: "tcp", 17: "udp", 132: "sctp", abi.PROTO_MARK: "ip"}
"""By number; a template of a service by mark is of any."""
STATE_NAMES = {
    int(state): state.name.removeprefix("SCTP_").replace("_", "-") if state.name.startswith("SCTP_") else state.name
    for state in abi.FlowState
}
"""By number, as ipvsadm prints them: of SCTP with dashes.  Several protocols have a state `ESTABLISHED`."""

_CLASSES = {"tcp": 0, "udp": 1, "sctp": 2}
"""The class of a state's number (bpf/tbl/state.h)."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


def provide_wanted(
    state: AppState,
    server: Annotated[
        list[str] | None,
        QueryParameter(description="Of these real servers: `10.0.0.1`, `10.0.0.1:80`; commas between several."),
    ] = None,
    service: Annotated[
        str | None, QueryParameter(description="Of this service: its id, which may be one that is deleted, or name.")
    ] = None,
    client: Annotated[
        str | None, QueryParameter(description="Of this client, or of those of a prefix: `198.51.100.0/24`.")
    ] = None,
    states: Annotated[
        list[str] | None,
        QueryParameter(name="state", description="In these states, as `ESTABLISHED`; commas between several."),
    ] = None,
    protocol: Annotated[Literal["tcp", "udp", "sctp"] | None, QueryParameter(description="Of this protocol.")] = None,
    older_than: Annotated[
        str | None, QueryParameter(description="Without a packet for this long: `30s`, `5m`, `2h`, `1d`.")
    ] = None,
) -> Filter:
    """Return what a request means; raises `InvalidError`, `NoSuchServiceError`."""
    context: Context = state  # type: ignore[assignment]
    engine = context.director.engine
    rows = engine.layout.rows[: engine.end("server")]
    meant: Bools = rows["proto"] != 0
    if server is not None:
        meant &= _servers(rows, _words(server))
    if service is not None:
        meant &= _service(rows, _key(engine.state, service))
    by_state = None if states is None else _states(_words(states))
    if protocol is not None:
        of_class = np.arange(abi.STATE_CODES) >> abi.FLOW_CLASS_SHIFT == _CLASSES[protocol]
        by_state = of_class if by_state is None else by_state & of_class
    idle = 0 if older_than is None else duration(older_than) * engine.kernel.flows.hz()
    return Filter(meant, by_state, None if client is None else prefix(client), idle)


def duration(text: str) -> int:
    """Return the seconds of ``30s``, ``5m``, ``2h``, ``1d``; raises `InvalidError`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise InvalidError(f"{text!r} is no duration; write one as 30s, 5m, 2h or 1d")
    return int(found[1]) * _SECONDS[found[2]]


def prefix(text: str) -> tuple[bytes, int]:
    """Return the bytes of an address or prefix and how many bits of them count; raises `InvalidError`."""
    written, slash, bits = text.partition("/")
    address = Address.parse(written)
    most = address.max_prefixlen
    if not slash:
        return address, 128
    if not (bits.isascii() and bits.isdecimal()) or int(bits[:4]) > most:
        raise InvalidError(f"{text!r} is no prefix: behind the slash goes a number from 0 to {most}")
    return address, 128 - most + int(bits)


def _words(values: list[str]) -> list[str]:
    return [word for value in values for word in value.split(",")]


def _servers(rows: views.Array, words: list[str]) -> Bools:
    """Say of each row whether it is one of these servers."""
    found = np.zeros(len(rows), np.bool_)
    for word in words:
        port: int | None = None
        try:
            address = Address.parse(word)
        except InvalidError:
            address, port = read_endpoint(word)
        same = _has_address(rows["addr"], address)
        found |= same if port is None else same & (rows["port"] == port)
    return found


def _service(rows: views.Array, key: ServiceKey) -> Bools:
    """Say of each row whether it is a server of this service."""
    number = next(number for number, name in PROTOCOLS.items() if name == key.protocol)
    found: Bools = _has_address(rows["virt"], key.address) & (rows["vport"] == key.port) & (rows["proto"] == number)
    return found


def _has_address(column: views.Array, address: Address) -> Bools:
    """Say of each address of a *column* whether it is this one."""
    found: Bools = (np.ascontiguousarray(column).view("<u8").reshape(-1, 2) == np.frombuffer(address, "<u8")).all(
        axis=1
    )
    return found


def _key(state: State, word: str) -> ServiceKey:
    """Return the service of this name or id; one that is deleted may have flows left, and has its id only."""
    return ServiceKey.parse(word) if ":" in word else state.find(word).key


def _states(words: list[str]) -> Bools:
    found = np.zeros(abi.STATE_CODES, np.bool_)
    for word in words:
        numbers = [number for number, name in STATE_NAMES.items() if name == word.upper()]
        if not numbers:
            raise InvalidError(
                f"flows have no state {word!r} (one of {', '.join(dict.fromkeys(STATE_NAMES.values()))})"
            )
        found[numbers] = True
    return found
