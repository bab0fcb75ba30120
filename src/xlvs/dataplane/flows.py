"""The flow table as user space reads it: mapped read-only, scanned by numpy, never written.

Packets change what is read here at any moment, so a record may be of the
moment before; one that changed hands while it was read is left out.  The
layout is that of ``bpf/abi.h``, the way through it that of ``bpf/buckets.h``.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi
from xlvs.dataplane.maps import Map

Array = npt.NDArray[Any]

RECORD = np.dtype(
    [
        ("client", "V16"),
        ("virt", "V16"),
        ("cport", ">u2"),
        ("vport", ">u2"),
        ("server", "<u4"),
        ("state", "u1"),
        ("fwd", "u1"),
        ("local", "?"),
        ("idle", "<u4"),
        ("in_bytes", "<u8"),
        ("out_bytes", "<u8"),
    ]
)
"""A flow: both ends as in `xlvs.model.Address`, *server* its number, *idle* jiffies since its last packet."""

_CHUNK = 1 << 14
"""Slots looked at together: what fits a CPU's own cache."""

_STRIPE = abi.WAYS << abi.STRIPE_SHIFT
_MAPPED = np.frombuffer(bytes(10) + b"\xff\xff", "<u4")
_AHEAD = 0xF0000000
"""Such an age is a clock that was read a moment before the packet's (AGE_AHEAD in bpf/buckets.h)."""

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which flows are meant; each field that is set narrows them.

    *servers* and *states* are true at the numbers that are meant.  *client* and *virt* are 16 bytes and how many of
    their first bits count, *vport* and *proto* exact, *idle* the least jiffies since the last packet.
    """

    servers: npt.NDArray[np.bool_] | None = None
    states: npt.NDArray[np.bool_] | None = None
    client: tuple[bytes, int] | None = None
    virt: tuple[bytes, int] | None = None
    vport: int | None = None
    idle: int = 0


ALL = Filter()


@dataclass(slots=True)
class Counts:
    """How many flows there are: in all, by state, by server number, and by the power of two of their idle seconds."""

    flows: int = 0
    states: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(abi.STATE_CODES, np.int64))
    servers: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    ages: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(32, np.int64))


def table_sizes(flows: int) -> dict[str, int]:
    """Return how large the maps are of a table for this many *flows* of each family, at half its slots in use."""
    buckets = 2 * -(-flows // abi.WAYS)
    stripes = -(-buckets // (1 << abi.STRIPE_SHIFT))
    return {
        "flows4": buckets,
        "flows6": buckets,
        "flow_stripes": 2 * stripes,
        "flow_spill": max(flows // 32, 16),
        "flow_wide": max(flows // 16, 1024),
    }


class FlowTable:
    """The flow table among *maps*, by name as in ``bpf/maps.h``."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = maps
        self._tables = {4: _mapped(maps["flows4"], 4), 6: _mapped(maps["flows6"], 8)}

    @property
    def room(self) -> dict[int, int]:
        """How many flows each family's table is made for: half its slots."""
        return {family: len(words) // 2 for family, words in self._tables.items()}

    def hz(self) -> int:
        """Return how many jiffies are a second."""
        return int(self._maps["config"].get(0)["hz"]) or 1

    def now(self) -> int:
        """Return the kernel's jiffies, to the tick: they go with CLOCK_MONOTONIC (kernel/time/tick-sched.c)."""
        at = self._maps["sweep"].get(0)
        passed = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int(at["ns"])
        return int(at["jiffies"]) + passed * self.hz() // _SECOND

    def records(self, wanted: Filter = ALL) -> Iterator[Array]:
        """Yield the flows that are *wanted* and not idle for too long, some thousand at a time."""
        wide = self._wide()
        for family, first, words in self._chunks():
            chosen, idle = self._select(words, wanted)
            if len(chosen):
                yield _records(words[chosen], idle, family, chosen + first, wide)
        yield from self._spilled(wanted)

    def count(self, wanted: Filter = ALL, *, servers: int = 0) -> Counts:
        """Count the flows that are *wanted*; by server number for numbers below *servers*."""
        found = Counts(servers=np.zeros(servers, np.int64))
        hz = self.hz()
        for words in (*(words for _, _, words in self._chunks()), self._spill()):
            chosen, idle = self._select(words, wanted)
            if not len(chosen):
                continue
            life = (words[chosen, 1] >> np.uint64(32)).astype(np.uint32)
            found.flows += len(chosen)
            found.states += np.bincount(_states(life), minlength=abi.STATE_CODES)
            found.ages += np.bincount(_powers(idle // hz), minlength=32)
            if servers:
                numbers = life >> np.uint32(abi.FLOW_SERVER_SHIFT)
                found.servers += np.bincount(numbers[numbers < servers], minlength=servers)
        return found

    def _chunks(self) -> Iterator[tuple[int, int, npt.NDArray[np.uint64]]]:
        """Yield family, first slot and words of every part of the tables that may hold flows."""
        used = self._maps["flow_stripes"].read()["used"] != 0
        begin = 0
        for family, words in self._tables.items():
            stripes = -(-len(words) // _STRIPE)
            mine = used[begin : begin + stripes]
            begin += stripes
            for first in range(0, len(words), _CHUNK):
                if mine[first // _STRIPE : (first + _CHUNK) // _STRIPE].any():
                    yield family, first, words[first : first + _CHUNK]

    def _select(self, words: npt.NDArray[np.uint64], wanted: Filter) -> tuple[Array, npt.NDArray[np.uint32]]:
        """Return the indices of the wanted among these slots, and their idle jiffies."""
        life = (words[:, 1] >> np.uint64(32)).astype(np.uint32)
        chosen = np.flatnonzero(((life ^ np.uint32(abi.FLOW_FREE)) & np.uint32(15)) < abi.FLOW_BUSY)
        life = life[chosen]
        idle = np.uint32(self.now() & 0xFFFFFFFF) - words[chosen, 2].astype(np.uint32)
        idle[idle >= _AHEAD] = 0
        states = _states(life)
        keep = (idle <= self._timeouts()[states]) & (idle >= wanted.idle)
        if wanted.states is not None:
            keep &= wanted.states[states]
        if wanted.servers is not None:
            numbers = life >> np.uint32(abi.FLOW_SERVER_SHIFT)
            keep &= wanted.servers[np.minimum(numbers, len(wanted.servers) - 1)] & (numbers < len(wanted.servers))
        if wanted.vport is not None:
            keep &= (words[chosen, 0] >> np.uint64(48)).astype(np.uint16).byteswap() == wanted.vport
        for end, places in ((wanted.client, _CLIENT), (wanted.virt, _VIRT)):
            if end is not None:
                keep &= _within(words[chosen].view(np.uint32), places, *end)
        return chosen[keep], idle[keep]

    def _timeouts(self) -> npt.NDArray[np.uint32]:
        found: npt.NDArray[np.uint32] = self._maps["config"].get(0)["idle"]
        return found

    def _wide(self) -> dict[int, tuple[int, int]]:
        keys, values = self._maps["flow_wide"].items()
        return dict(zip(keys.tolist(), values.tolist(), strict=True))

    def _spill(self) -> npt.NDArray[np.uint64]:
        _, values = self._maps["flow_spill"].items()
        return np.ascontiguousarray(values).view(np.uint64).reshape(-1, 8)

    def _spilled(self, wanted: Filter) -> Iterator[Array]:
        words = self._spill()
        chosen, idle = self._select(words, wanted)
        if len(chosen):
            yield _records(words[chosen], idle, 6, np.full(len(chosen), -1), {})


_CLIENT = ((8, 9, 10), 0)
_VIRT = ((11, 12, 13), 2)
"""Where in a wide slot, as 32-bit words, the first three and the last of an address are."""


def _mapped(table: Map, words: int) -> npt.NDArray[np.uint64]:
    """Return the slots of an array of buckets, *words* of 64 bits each, as they are at any moment."""
    size = table.max_entries * table.value_dtype.itemsize
    page = mmap.PAGESIZE
    memory = mmap.mmap(table.fd, -(-size // page) * page, prot=mmap.PROT_READ)
    return np.frombuffer(memory, np.uint64, size // 8).reshape(-1, words)


def _states(life: npt.NDArray[np.uint32]) -> npt.NDArray[np.intp]:
    return ((life & np.uint32(abi.FLOW_STATE)) ^ np.uint32(abi.FLOW_FREE)).astype(np.intp)


def _powers(seconds: Array) -> npt.NDArray[np.intp]:
    """Return how many bits each number has: 0 for 0, 1 for 1, 2 for 2 and 3, ..."""
    return np.frexp(seconds.astype(np.float64))[1].astype(np.intp)


def _address(words: npt.NDArray[np.uint32], places: tuple[tuple[int, ...], int]) -> npt.NDArray[np.uint32]:
    """Return an address of each slot as four 32-bit words in network order."""
    high, low = places
    found = np.empty((len(words), 4), np.uint32)
    found[:, :3] = words[:, high] if words.shape[1] > 8 else _MAPPED
    found[:, 3] = words[:, low]
    return found


def _within(words: npt.NDArray[np.uint32], places: tuple[tuple[int, ...], int], address: bytes, bits: int) -> Array:
    """Say of each slot whether the first *bits* of an address in it are those of *address*."""
    mask = ((1 << bits) - 1) << (128 - bits)
    masked = np.frombuffer(mask.to_bytes(16, "big"), "<u4")
    want = np.frombuffer(address, "<u4") & masked
    found: Array = ((_address(words, places) & masked) == want).all(axis=1)
    return found


def _records(
    words: npt.NDArray[np.uint64],
    idle: npt.NDArray[np.uint32],
    family: int,
    slots: Array,
    wide: Mapping[int, tuple[int, int]],
) -> Array:
    found = np.zeros(len(words), RECORD)
    halves = words.view(np.uint32).reshape(len(words), -1)
    life = halves[:, 3]
    found["client"] = _address(halves, _CLIENT).view("V16")[:, 0]
    found["virt"] = _address(halves, _VIRT).view("V16")[:, 0]
    ports = halves[:, 1]
    found["cport"] = (ports & np.uint32(0xFFFF)).astype("<u2").view(">u2")
    found["vport"] = (ports >> np.uint32(16)).astype("<u2").view(">u2")
    found["server"] = life >> np.uint32(abi.FLOW_SERVER_SHIFT)
    found["state"] = _states(life)
    found["fwd"] = life >> np.uint32(abi.FLOW_FWD_SHIFT) & np.uint32(abi.FLOW_FWD)
    found["local"] = life & np.uint32(abi.FLOW_LOCAL) != 0
    found["idle"] = idle
    for name, column in (("in_bytes", 6), ("out_bytes", 7)):
        found[name] = halves[:, column] & np.uint32(abi.FLOW_WIDE - 1)
    if wide:
        mark = abi.PLACE_V6 if family == 6 else 0
        marked = (halves[:, 6] | halves[:, 7]) & np.uint32(abi.FLOW_WIDE) != 0
        for i in np.flatnonzero(marked).tolist():
            more = wide.get(int(slots[i]) | mark, (0, 0))
            found["in_bytes"][i] += np.uint64(more[0])
            found["out_bytes"][i] += np.uint64(more[1])
    return found
