"""What clients are shown: services with their counters, flows, the director itself, as plain JSON values.

Reads, never writes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xlvs.daemon.engine import Engine
from xlvs.daemon.kernel import PROTOCOL_NAMES
from xlvs.daemon.stats import named
from xlvs.dataplane import _abi as abi
from xlvs.dataplane import unpack_addr
from xlvs.model import Service, ServiceKey

IPVS_VERSION = [1, 2, 1]
IPVS_SIZE = 4096
"""What ipvsadm prints about the IPVS it would be talking to."""

_STATES = {int(state): state.name for state in abi.FlowState}


def services(engine: Engine, key: ServiceKey | None) -> dict[str, Any]:
    """Return one service, or all, with servers oldest first; raises `NoSuchServiceError`."""
    shown = [engine.state.service(key)] if key else list(engine.state.services.values())
    counts, rates = {}, {}
    for kind, counters in engine.counters.items():
        counts[kind] = counters.counts(engine.kernel.stats(kind, engine.end(kind)))
        rates[kind] = counters.rates(engine.end(kind))
    loads = np.maximum(engine.kernel.loads(engine.end("server")), 0).tolist()

    def measured(kind: str, number: int) -> dict[str, Any]:
        return {"stats": named(counts[kind][number]), "rates": named(rates[kind][number])}

    def one(service: Service) -> dict[str, Any]:
        servers = []
        for server in service.servers:
            number = engine.layout.number(service.key, server.address, server.port)
            assert number is not None
            active, inactive = loads[number]
            load = {"active": active, "inactive": inactive, "persistent": 0}
            servers.append({**server.to_json(), **load, **measured("server", number)})
        row = engine.layout.services[service.key]
        return {**service.to_json(), **measured("service", row.id), "servers": servers}

    return {"version": IPVS_VERSION, "size": IPVS_SIZE, "services": [one(service) for service in shown]}


def flows(engine: Engine, limit: int | None) -> list[dict[str, Any]]:
    """Return the flows that are not expired, *limit* at most."""
    records, left_s = engine.kernel.flows()
    rows = zip(records[:limit], left_s[:limit].tolist(), strict=True)
    return [row for record, expires_s in rows if (row := _flow(engine, record, expires_s))]


def _flow(engine: Engine, record: Any, expires_s: int) -> dict[str, Any] | None:
    server = engine.layout.servers.get(int(record["server"]))
    if server is None:
        return None
    key = record["key"]
    return {
        "protocol": PROTOCOL_NAMES.get(int(key["proto"]), str(key["proto"])),
        "state": _STATES[int(record["word"]) & 0xFF],
        "expires_s": expires_s,
        "client": [str(unpack_addr(key["client"])), int(key["cport"])],
        "virtual": [str(unpack_addr(key["other"])), int(key["oport"])],
        "server": [str(server.address), server.port],
        "packets": [int(record["in_pkts"]), int(record["out_pkts"])],
        "bytes": [int(record["in_bytes"]), int(record["out_bytes"])],
    }
