"""The writes behind a plan's decisions: columns of many servers or services, put together at once.

Pure; decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Protocol

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.model import Address, Server
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.records import Array


class Slotted(Protocol):
    """A service whose servers, oldest first, are to fill the slots from *block* on."""

    @property
    def block(self) -> int: ...

    @property
    def numbers(self) -> Sequence[int]: ...

    @property
    def servers(self) -> Sequence[Server]: ...


def put_servers(numbers: Array, rows: Array) -> list[w.Write]:
    """Return the write of these server rows, if there are any."""
    return [w.Put("servers", numbers, rows)] if len(numbers) else []


def put_slots(services: Sequence[Slotted]) -> list[w.Write]:
    """Return the write that fills every service's blocks with choices and weights, newest server first."""
    services = [service for service in services if service.numbers]
    if not services:
        return []
    counts = np.array([len(service.numbers) for service in services])
    blocks = -(-counts // abi.SLOTS_PER_BLOCK)
    first = np.cumsum(blocks) - blocks
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.repeat(first * abi.SLOTS_PER_BLOCK + counts - 1, counts) - within
    slots = np.zeros(int(blocks.sum()) * abi.SLOTS_PER_BLOCK, abi.SLOT)
    slots["choice"][places] = list(chain.from_iterable(map(choices, services)))
    slots["weight"][places] = [s.weight for service in services for s in service.servers]
    keys = np.repeat([service.block for service in services] - first, blocks) + np.arange(blocks.sum())
    return [w.Put("slots", r.numbers(keys), slots.view(abi.BLOCK).reshape(-1))]


def choices(service: Slotted) -> list[int]:
    """Return what leads to each server of the service, oldest first: its number, with its forwarding method above."""
    forwards = r.FORWARD_NUMBERS
    return [
        number | forwards[server.forward] << abi.CHOICE_FWD_SHIFT
        for number, server in zip(service.numbers, service.servers, strict=True)
    ]


def put_addresses(flags: Mapping[Address, int]) -> list[w.Write]:
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
