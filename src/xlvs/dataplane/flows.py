"""The flow table as user space reads it: mapped read-only, scanned by numpy, never written.

Packets change what is read here at any moment, so a record may be of the
moment before; one that changed hands while it was read is left out.  The
layout is that of ``bpf/abi.h``, the way through it that of ``bpf/buckets.h``.

Reading is cheap as long as it stays within a CPU's own cache: a part of the
table at a time, of each slot first the two words that say whether and how it
is used, the whole of it only where a filter has let it pass.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi
from xlvs.dataplane.maps import Map
from xlvs.model import MAPPED

Array = npt.NDArray[Any]
Words = npt.NDArray[np.uint32]
Numbers = npt.NDArray[np.intp]

RECORD = np.dtype(
    [
        ("client", "V16"),
        ("virt", "V16"),
        ("in_bytes", "<u8"),
        ("out_bytes", "<u8"),
        ("server", "<u4"),
        ("idle", "<u4"),
        ("left", "<u4"),
        ("cport", ">u2"),
        ("vport", ">u2"),
        ("state", "u1"),
        ("fwd", "u1"),
        ("local", "?"),
    ],
    align=True,
)
"""A flow: both ends as in `xlvs.model.Address`, *server* its number; *idle* jiffies since its last packet, *left* until
it ends if there is none.

A template of a persistent service has the client's prefix as *client*, the service's protocol as *cport*
(`protocols`), and as *in_bytes* the seconds that it may be idle.
"""

TEMPLATE = abi.FlowState.ASSURED >> abi.FLOW_CLASS_SHIFT
"""The class of the states of templates (bpf/tbl/state.h)."""

AGES = (1, 10, 30, 60, 120, 300, 900, 3600, 86400)
"""Seconds of idleness at which each class of ages but the first begins."""

_CHUNK = 1 << 14
"""Slots looked at together: what fits a CPU's own cache."""

_STRIPE = abi.WAYS << abi.STRIPE_SHIFT
_MAPPED = np.frombuffer(MAPPED, "<u4")
_AHEAD = 0xF0000000
"""Such an age is a clock that was read a moment before the packet's (AGE_AHEAD in bpf/buckets.h)."""

_SECOND = 1_000_000_000
_CPORT, _LIFE, _SEEN, _IN_BYTES, _OUT_BYTES = 1, 3, 4, 6, 7
"""Where in a slot, as 32-bit words, the fields of ``struct xlvs_flow`` are."""

_CLIENT = (0, slice(8, 11))
_VIRT = (2, slice(11, 14))
"""Where an address is: its last word, and in a wide slot the three before."""

_PLACE = np.uint32(15)
_FREE = np.uint32(abi.FLOW_FREE)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which flows are meant; each field that is set narrows them.

    *servers* and *states* are true at the numbers that are meant.  *client* is 16 bytes and how many of their first
    bits count, *idle* the least jiffies since the last packet.
    """

    servers: npt.NDArray[np.bool_] | None = None
    states: npt.NDArray[np.bool_] | None = None
    client: tuple[bytes, int] | None = None
    idle: int = 0

    @property
    def family(self) -> int:
        """4 or 6 if only clients of that family are meant, else 0."""
        if self.client is None:
            return 0
        prefix, bits = self.client
        return 4 if bits >= 96 and prefix.startswith(MAPPED) else 6


ALL = Filter()


def table_sizes(flows: int, flows6: int | None = None) -> dict[str, int]:
    """Return how large the maps are of a table for *flows* of IPv4 and *flows6* of IPv6 (default: as many).

    Half its slots are then in use.
    """
    flows6 = flows if flows6 is None else flows6
    buckets = {name: 2 * -(-n // abi.WAYS) for name, n in (("flows4", flows), ("flows6", flows6))}
    most = max(flows, flows6)
    return {
        **buckets,
        "flow_stripes": sum(-(-n // (1 << abi.STRIPE_SHIFT)) for n in buckets.values()),
        "flow_spill": max(most // 32, 16),
        "flow_wide": max(most // 16, 1024),
    }


_BYTES = {
    "flows4": abi.BUCKET.itemsize,
    "flows6": abi.BUCKET6.itemsize,
    "flow_stripes": abi.STRIPE.itemsize,
    # A preallocated hash has, beside key and value, 48 bytes an entry and 16 for its chain (kernel/bpf/hashtab.c).
    "flow_spill": abi.SPILL_KEY.itemsize + abi.FLOW6.itemsize + 64,
}


def table_bytes(sizes: Mapping[str, int]) -> int:
    """Return how much memory the maps of these sizes, by name, take from the beginning."""
    return sum(size * _BYTES[name] for name, size in sizes.items() if name in _BYTES)


@dataclass(frozen=True, slots=True)
class Part:
    """The wanted flows of one part of the table, read no further than was needed to choose them.

    *slots* are that part as 32-bit words, *chosen* the indices of the flows in it, *life*, *idle* and *left* what
    `RECORD` has of each.  *first* is the place of the first slot (XLVS_PLACE_*).
    """

    slots: Words
    chosen: Numbers
    life: Words
    idle: Words
    left: Words
    hz: int
    first: int
    wide: Map

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def servers(self) -> Words:
        """The number of each flow's server."""
        return self.life >> np.uint32(abi.FLOW_SERVER_SHIFT)

    @property
    def states(self) -> Numbers:
        """The state of each flow."""
        return _states(self.life)

    def clients(self) -> Words:
        """Return the client's address of each flow, as four words in network order."""
        return _address(np.take(self.slots, self.chosen, axis=0), _CLIENT)

    def records(self) -> Array:
        """Return the flows as `RECORD`, without those that changed hands meanwhile."""
        rows = np.take(self.slots, self.chosen, axis=0)
        again = self.slots[:, _LIFE][self.chosen]
        same = ((again ^ self.life) & ~_PLACE == 0) & _live(again)
        if not same.all():
            rows, chosen = rows[same], self.chosen[same]
            found = Part(self.slots, chosen, self.life[same], self.idle[same], self.left[same], self.hz, 0, self.wide)
        else:
            found = self
        records = found._records(rows)
        marked = np.flatnonzero((rows[:, _IN_BYTES] | rows[:, _OUT_BYTES]) & np.uint32(abi.FLOW_WIDE))
        for i in marked.tolist():
            if (more := self.wide.get(self.first + int(found.chosen[i]))) is not None:
                records["in_bytes"][i] += more["in_bytes"]
                records["out_bytes"][i] += more["out_bytes"]
        return records

    def _records(self, rows: Words) -> Array:
        records = np.empty(len(rows), RECORD)
        records["client"] = _address(rows, _CLIENT).view("V16")[:, 0]
        records["virt"] = _address(rows, _VIRT).view("V16")[:, 0]
        ports = np.ascontiguousarray(rows[:, _CPORT]).view(">u2").reshape(-1, 2)
        records["cport"], records["vport"] = ports[:, 0], ports[:, 1]
        records["in_bytes"] = rows[:, _IN_BYTES] & np.uint32(abi.FLOW_WIDE - 1)
        records["out_bytes"] = rows[:, _OUT_BYTES] & np.uint32(abi.FLOW_WIDE - 1)
        records["server"], records["idle"], records["left"] = self.servers, self.idle, self.left
        records["state"] = self.states
        records["fwd"] = self.life >> np.uint32(abi.FLOW_FWD_SHIFT) & np.uint32(abi.FLOW_FWD)
        records["local"] = self.life & np.uint32(abi.FLOW_LOCAL) != 0
        return records


@dataclass(slots=True)
class Counts:
    """How many flows there are: in all, by state, by server number, and by the class of their age (`AGES`)."""

    flows: int = 0
    states: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(abi.STATE_CODES, np.int64))
    servers: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    ages: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(AGES) + 1, np.int64))

    def add(self, part: Part) -> None:
        """Count the flows of a *part*; by server as far as there is room in *servers*."""
        self.flows += len(part)
        self.states += np.bincount(part.states, minlength=abi.STATE_CODES)
        ages = np.zeros(len(part), np.uint8)
        for begin in AGES:
            ages += part.idle >= np.uint32(min(begin * part.hz, _AHEAD))
        self.ages += np.bincount(ages.astype(np.intp), minlength=len(AGES) + 1)
        if len(self.servers) and len(part):
            numbers = part.servers.astype(np.intp)
            if (most := int(numbers.max())) < _CHUNK:
                found = np.bincount(numbers, minlength=most + 1)[: len(self.servers)]
                self.servers[: len(found)] += found
            else:
                np.add.at(self.servers, numbers[numbers < len(self.servers)], 1)


class FlowTable:
    """The flow table among *maps*, by name as in ``bpf/maps.h``."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._maps = maps
        self._tables = {4: _mapped(maps["flows4"]).reshape(-1, 8), 6: _mapped(maps["flows6"]).reshape(-1, 16)}
        self._stripes = _mapped(maps["flow_stripes"]).view(abi.STRIPE)

    @property
    def room(self) -> dict[int, int]:
        """How many flows each family's table is made for: half its slots."""
        return {family: len(slots) // 2 for family, slots in self._tables.items()}

    @property
    def spilled(self) -> int:
        """How many flows found no room in their buckets."""
        return int(self._stripes["spilled"].sum(dtype=np.int64))

    def hz(self) -> int:
        """Return how many jiffies are a second."""
        return int(self._maps["config"].get(0)["hz"]) or 1

    def now(self) -> int:
        """Return the kernel's jiffies, to the tick: they go with CLOCK_MONOTONIC (kernel/time/tick-sched.c)."""
        return self._now(self.hz())

    def records(self, wanted: Filter = ALL) -> Iterator[Array]:
        """Yield the flows that are *wanted* and not idle for too long, some thousand at a time."""
        for part in self.parts(wanted):
            if len(part):
                yield part.records()

    def count(self, wanted: Filter = ALL, *, servers: int = 0) -> Counts:
        """Count the flows that are *wanted*; by server number for numbers below *servers*."""
        found = Counts(servers=np.zeros(servers, np.int64))
        for part in self.parts(wanted):
            found.add(part)
        return found

    def parts(self, wanted: Filter = ALL) -> Iterator[Part]:
        """Yield every part of the table that may hold flows, with those that are *wanted* and not idle for too long.

        A part is read when it is yielded, and its records then or shortly after.
        """
        if wanted.servers is not None:  # one more, which stands for all that are beyond
            wanted = replace(wanted, servers=np.append(wanted.servers, np.False_))
        config = self._maps["config"].get(0)
        hz, timeouts = int(config["hz"]) or 1, np.asarray(config["idle"])
        for first, slots in self._chunks(wanted.family):
            yield self._part(slots, wanted, timeouts, hz, first)
        if self.spilled:
            _, values = self._maps["flow_spill"].items()
            slots = np.ascontiguousarray(values).view(np.uint32).reshape(-1, 16)
            yield self._part(slots, wanted, timeouts, hz, abi.PLACE_SPILL)

    def _now(self, hz: int) -> int:
        at = self._maps["sweep"].get(0)
        passed = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int(at["ns"])
        return int(at["jiffies"]) + passed * hz // _SECOND

    def _chunks(self, only: int) -> Iterator[tuple[int, Words]]:
        """Yield the place of the first slot, and the slots, of every part that may hold flows of the family *only*."""
        begin = 0
        for family, slots in self._tables.items():
            stripes = -(-len(slots) // _STRIPE)
            used = self._stripes["used"][begin : begin + stripes]
            begin += stripes
            if only in (0, family):
                mark = abi.PLACE_V6 if family == 6 else 0
                for first in range(0, len(slots), _CHUNK):
                    if used[first // _STRIPE : (first + _CHUNK) // _STRIPE].any():
                        yield first + mark, slots[first : first + _CHUNK]

    def _part(self, slots: Words, wanted: Filter, timeouts: Words, hz: int, first: int) -> Part:
        """Choose the wanted among these *slots*."""
        life = slots[:, _LIFE].copy()
        chosen = np.flatnonzero(_live(life))
        life = life[chosen]
        idle = np.uint32(self._now(hz) & 0xFFFFFFFF) - slots[:, _SEEN][chosen]
        idle[idle >= _AHEAD] = 0
        states = _states(life)
        limits = timeouts[states]
        templates = np.flatnonzero(states >> abi.FLOW_CLASS_SHIFT == TEMPLATE)
        if len(templates):
            limits[templates] = _template_limits(slots[chosen[templates]], self._now(hz), hz)
        keep = idle <= limits
        if wanted.idle:
            keep &= idle >= min(wanted.idle, 0xFFFFFFFF)
        if wanted.states is not None:
            keep &= wanted.states[states]
        if wanted.servers is not None:
            numbers = (life >> np.uint32(abi.FLOW_SERVER_SHIFT)).astype(np.intp)
            keep &= wanted.servers[np.minimum(numbers, len(wanted.servers) - 1)]
        if not keep.all():
            chosen, life, idle, limits = chosen[keep], life[keep], idle[keep], limits[keep]
        if wanted.client is not None and len(chosen):
            near = _within(_address(np.take(slots, chosen, axis=0), _CLIENT), *wanted.client, mapped=wanted.family == 4)
            chosen, life, idle, limits = chosen[near], life[near], idle[near], limits[near]
        return Part(slots, chosen, life, idle, limits - idle, hz, first, self._maps["flow_wide"])


def protocols(records: Array) -> Array:
    """Return the IP protocol of each of the `RECORD` *records*; of a template that of its service."""
    of_class = np.array([6, 17, 132, 0], np.uint8)[records["state"] >> abi.FLOW_CLASS_SHIFT]
    return np.where(is_template(records), records["cport"], of_class).astype(np.uint8)


def is_template(records: Array) -> npt.NDArray[np.bool_]:
    """Say which of the `RECORD` *records* are templates."""
    found: npt.NDArray[np.bool_] = records["state"] >> abi.FLOW_CLASS_SHIFT == TEMPLATE
    return found


def _template_limits(rows: Words, now: int, hz: int) -> Words:
    """Return how many jiffies each of these templates may be idle; one whose clock was put ahead, so many more."""
    age = np.uint32(now & 0xFFFFFFFF) - rows[:, _SEEN]
    ahead = np.where(age >= _AHEAD, -age, np.uint32(0))
    found: Words = rows[:, _IN_BYTES] * np.uint32(hz) + ahead
    return found


def _mapped(table: Map) -> Words:
    """Return the values of an array, as 32-bit words, as they are at any moment."""
    size = table.max_entries * table.value_dtype.itemsize
    memory = mmap.mmap(table.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE, prot=mmap.PROT_READ)
    return np.frombuffer(memory, np.uint32, size // 4)


def _live(life: Words) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = ((life ^ _FREE) & _PLACE) < abi.FLOW_BUSY
    return found


def _states(life: Words) -> Numbers:
    return ((life & np.uint32(abi.FLOW_STATE)) ^ _FREE).astype(np.intp)


def _address(slots: Words, place: tuple[int, slice]) -> Words:
    """Return an address of each slot as four 32-bit words in network order."""
    low, high = place
    found = np.empty((len(slots), 4), np.uint32)
    found[:, :3] = slots[:, high] if slots.shape[1] > 8 else _MAPPED
    found[:, 3] = slots[:, low]
    return found


def _within(addresses: Words, prefix: bytes, bits: int, *, mapped: bool) -> npt.NDArray[np.bool_]:
    """Say of each address whether its first *bits* are those of *prefix*, and it is *mapped*, one of IPv4, or not."""
    mask = np.frombuffer((((1 << bits) - 1) << (128 - bits)).to_bytes(16, "big"), "<u4")
    wanted = np.frombuffer(prefix, "<u4") & mask
    near: npt.NDArray[np.bool_] = (addresses[:, :3] == _MAPPED).all(axis=1) == mapped
    for i in np.flatnonzero(mask).tolist():
        near &= addresses[:, i] & mask[i] == wanted[i]
    return near
