"""Maps as they were found, read back: what an earlier daemon left half done, and the layout of the rest.

Pure: takes what the maps hold, as arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xlvs import sched
from xlvs.dataplane import _abi as abi
from xlvs.model import MAPPED, Address, Server, Service, ServiceKey
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout, Limits, Placed
from xlvs.plan.records import Array

Items = tuple[Array, Array]
"""Keys and values of a hash, in the same order."""


def settle(keys: Array, values: Array, rows: Array, epoch: int) -> tuple[list[w.Write], str]:
    """Return the writes after which no service or server is about to change, and what they do.

    What *epoch* has put in force is "completed": its leftovers go.  What waits
    for another epoch is "undone".  "" if nothing was going on.
    """
    coming, happened = values["turn"] != 0, values["turn"] == epoch
    settled = np.zeros_like(values)
    settled["now"] = np.where(happened & coming, values["next"], values["now"])
    present = settled["now"]["present"] != 0
    writes: list[w.Write] = []
    if (coming & present).any():
        writes.append(w.Put("services", keys[coming & present], settled[coming & present]))
    if not present.all():
        writes.append(w.Drop("services", keys[~present]))
    turns = rows["life"] >> abi.LIFE_TURN_SHIFT
    waiting = np.flatnonzero(turns)
    fixed = rows[waiting]
    fixed["life"] = (fixed["life"] & r.LIVE) ^ (turns[waiting] == epoch)
    if len(waiting):
        writes.append(w.Put("servers", r.numbers(waiting), fixed))
    if not writes:
        return [], ""
    return writes, "completed" if (happened & coming).any() or (turns[waiting] == epoch).any() else "undone"


def read_layout(
    limits: Limits,
    rows: Array,
    options: Array,
    keys: Array,
    values: Array,
    blocks: Array,
    addresses: Items,
    nat_servers: Items,
) -> Layout:
    """Return the layout of settled maps; *rows*, *options* and *blocks* are whole arrays, of which two are kept."""
    slots = blocks["slot"].reshape(-1)
    services = {
        key: _read_service(key, value["now"], rows, options, slots)
        for key, value in zip(r.read_service_keys(keys), values, strict=True)
    }
    flags = zip(addresses[0].tolist(), addresses[1].tolist(), strict=True)
    return Layout.read(
        limits,
        rows,
        options,
        services,
        {Address(address): bits for address, bits in flags},
        dict(zip(r.as_bytes(nat_servers[0]), nat_servers[1].tolist(), strict=True)),
    )


def _read_service(key: ServiceKey, value: Any, rows: Array, options: Array, slots: Array) -> Placed:
    first, count = int(value["block"]) * abi.SLOTS_PER_BLOCK, int(value["n"])
    mine = slots[first : first + count][::-1]
    numbers = mine["choice"] & np.uint32(abi.RUN - 1)
    # A change that did not come to its end may have left another method in the row; what counts is the choice.
    rows["fwd"][numbers] = mine["choice"] >> abi.CHOICE_FWD_SHIFT
    servers = zip(
        rows["addr"][numbers].tolist(),
        rows["port"][numbers].tolist(),
        (mine["choice"] >> abi.CHOICE_FWD_SHIFT).tolist(),
        mine["weight"].tolist(),
        options[numbers].tolist(),
        strict=True,
    )
    service = Service(
        key,
        abi.Sched(int(value["sched"])).label,
        r.flag_names(int(value["sched_flags"])),
        tuple(_read_server(*server) for server in servers),
        persistent=int(value["persistent"]),
        netmask=_read_mask(key, int(value["mask"])) if value["persistent"] else "",
        engine=r.ENGINE_NAMES[int(value["engine"])],
        ops=bool(value["flags"] & abi.SERVICE_OPS),
        table=_read_table(int(value["sched"]), int(value["table_size"])),
    )
    number, half = divmod(int(value["index"]), 2)
    return Placed(service, number, half, int(value["block"]), tuple(numbers.tolist()), value.tobytes())


def _read_server(address: bytes, port: int, fwd: int, weight: int, options: tuple[int, ...]) -> Server:
    forward = r.FORWARD_NAMES[fwd]
    upper, lower, _, tunnel_port, flags, _ = options
    if not upper and not lower and not tunnel_port and not flags:
        return Server(Address(address), port, forward, weight)
    return Server(
        Address(address),
        port,
        forward,
        weight,
        upper,
        lower,
        tunnel_port=tunnel_port,
        tunnel_checksum=r.CHECKSUM_NAMES[flags],
    )


def _read_table(scheduler: int, size: int) -> int:
    """Return the size of a table of mh as `Service.table` has it."""
    return size if scheduler == abi.Sched.MH and size != sched.get("mh").table_size else 0


def _read_mask(key: ServiceKey, mask: int) -> str:
    """Return a mask as `Service.netmask` has it."""
    if key.version == 6:
        return "" if mask == 128 else str(mask)
    return "" if mask == 0xFFFFFFFF else str(Address(MAPPED + mask.to_bytes(4, "little")))
