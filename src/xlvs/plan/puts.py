"""The writes behind a plan's decisions: columns of many servers or services, put together at once.

Pure; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.layout import Change
from xlvs.plan.records import Array


def put_servers(numbers: Array, rows: Array) -> list[w.Write]:
    """Return the write of these server rows, if there are any."""
    return [w.Put("servers", numbers, rows)] if len(numbers) else []


def put_options(change: Change, where: Array) -> list[w.Write]:
    """Return the write of the options that *change* gives to servers *where* their number is true."""
    mine = where[change.option_numbers]
    return [w.Put("server_options", change.option_numbers[mine], change.options[mine])] if mine.any() else []


def put_slots(blocks: Sequence[int], counts: Sequence[int], choices: Array, weights: Sequence[int]) -> list[w.Write]:
    """Return the write that fills the blocks of services, each with as many servers as its count says.

    *choices* and *weights* are those of all their servers, oldest first; in the slots the newest comes first.
    """
    many = np.array(counts, np.int64)
    if not many.sum():
        return []
    needed = -(-many // abi.SLOTS_PER_BLOCK)
    first = np.cumsum(needed) - needed
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    places = np.repeat(first * abi.SLOTS_PER_BLOCK + many - 1, many) - within
    slots = np.zeros(int(needed.sum()) * abi.SLOTS_PER_BLOCK, abi.SLOT)
    slots["choice"][places] = choices
    slots["weight"][places] = weights
    last = np.repeat(first * abi.SLOTS_PER_BLOCK + many, needed) - abi.SLOTS_PER_BLOCK * np.arange(needed.sum())
    slots["choice"][:: abi.SLOTS_PER_BLOCK] |= _runs(slots["choice"].reshape(-1, abi.SLOTS_PER_BLOCK), last)
    keys = np.repeat(np.array(blocks) - first, needed) + np.arange(needed.sum())
    return [w.Put("slots", r.numbers(keys), slots.view(abi.BLOCK).reshape(-1))]


def _runs(choices: Array, counts: Array) -> Array:
    """Return RUN for each block whose servers have numbers that fall one by one, within a page of overheads, else 0.

    *counts* is how many slots of a block have servers, or more if all have.
    """
    numbers, places = (choices & np.uint32(abi.RUN - 1)).astype(np.int64), np.arange(abi.SLOTS_PER_BLOCK)
    falling = (numbers == numbers[:, :1] - places) | (places >= counts[:, np.newaxis])
    within = numbers[:, 0] % abi.PAGE_SERVERS + 1 >= np.minimum(counts, abi.SLOTS_PER_BLOCK)
    return np.where(falling.all(axis=1) & within, np.uint32(abi.RUN), np.uint32(0))


def put_addresses(flags: Mapping[bytes, int]) -> list[w.Write]:
    """Return the write of these addresses' flags."""
    return [w.Put("addrs", r.addresses(list(flags)), r.numbers(list(flags.values())))] if flags else []


def put_nat(found: Mapping[bytes, int]) -> list[w.Write]:
    """Return the write of these nat servers: number by key."""
    keys = np.frombuffer(b"".join(found), abi.SERVICE_KEY)
    return [w.Put("nat_servers", keys, r.numbers(list(found.values())))] if found else []


def drop_nat(drops: Sequence[bytes]) -> list[w.Write]:
    """Return the write that forgets these nat servers."""
    return [w.Drop("nat_servers", np.frombuffer(b"".join(drops), abi.SERVICE_KEY))] if drops else []


def drop_tables(indices: Sequence[int]) -> list[w.Write]:
    """Return the write that forgets the tables at these indices."""
    return [w.Drop("tables", r.numbers(indices))] if indices else []
