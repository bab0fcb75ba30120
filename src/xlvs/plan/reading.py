"""Maps as they were found, read back: what an earlier daemon left half done, and the layout of the rest.

Pure: takes what the maps hold, as arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.model import Address, Server, Service, ServiceKey
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
    limits: Limits, rows: Array, keys: Array, values: Array, blocks: Array, addresses: Items, nat_servers: Items
) -> Layout:
    """Return the layout of settled maps; *rows* and *blocks* are whole arrays, of which *rows* is kept."""
    slots = blocks["slot"].reshape(-1)
    services = {
        key: _read_service(key, value["now"], rows, slots)
        for key, value in zip(r.read_service_keys(keys), values, strict=True)
    }
    flags = zip(addresses[0].tolist(), addresses[1].tolist(), strict=True)
    return Layout.read(
        limits,
        rows,
        services,
        {Address(address): bits for address, bits in flags},
        dict(zip(r.as_bytes(nat_servers[0]), nat_servers[1].tolist(), strict=True)),
    )


def _read_service(key: ServiceKey, value: Any, rows: Array, slots: Array) -> Placed:
    first, count = int(value["block"]) * abi.SLOTS_PER_BLOCK, int(value["n"])
    mine = slots[first : first + count][::-1]
    numbers = mine["choice"] & np.uint32(abi.DRAINED - 1)
    # A change that did not come to its end may have left another method in the row; what counts is the choice.
    rows["fwd"][numbers] = mine["choice"] >> abi.CHOICE_FWD_SHIFT
    servers = zip(
        rows["addr"][numbers].tolist(),
        rows["port"][numbers].tolist(),
        (mine["choice"] >> abi.CHOICE_FWD_SHIFT).tolist(),
        mine["weight"].tolist(),
        strict=True,
    )
    service = Service(
        key,
        abi.Sched(int(value["sched"])).label,
        r.flag_names(int(value["sched_flags"])),
        tuple(Server(Address(address), port, r.FORWARD_NAMES[fwd], weight) for address, port, fwd, weight in servers),
    )
    number, half = divmod(int(value["index"]), 2)
    return Placed(service, number, half, int(value["block"]), tuple(numbers.tolist()), value.tobytes())
