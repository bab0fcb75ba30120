"""Take flows over from another flow table, of another size or layout, while packets go on.

User space reads the old table again and again and hands what has changed to the
program ``xlvs_import``, which enters it into the new one; the old program goes
on with the flows that are not there yet (``hand_over`` in ``bpf/walk.h``).
Reads old tables of every layout that a release had.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import FlowTable, is_template, protocols
from xlvs.dataplane.maps import Map
from xlvs.errors import HostError
from xlvs.model import MAPPED

Array = npt.NDArray[Any]

_SECOND = 1_000_000_000
_TICKS = 2
"""By how many jiffies a packet's clock and ours may differ."""

# Layout 1: what `flags` of a flow's word and its states were.
_LOCAL, _FWD_SHIFT, _DEAD, _UDP = 1 << 1, 4, 255, 11


class Takeover:
    """Flows of the table *left*, on their way into the one among *maps*; *run* is the program ``xlvs_import``."""

    def __init__(self, maps: Mapping[str, Map], left: Mapping[str, Map], run: Any) -> None:
        self._maps = maps
        self._left = left
        self._run = run
        self._table = FlowTable(maps)
        self._before = FlowTable({**maps, **left}) if "flows4" in left else None
        self._since: int | None = None
        self.failed = 0
        """How many flows found no room."""

    def live(self) -> dict[int, int]:
        """Return how many flows of each family there are to be taken over."""
        found = {4: 0, 6: 0}
        for records in self._read():
            v6 = int(records["v6"].sum())
            found[6] += v6
            found[4] += len(records) - v6
        return found

    def carry_overflow(self) -> None:
        """Let connections that found no room in the table *left* be recognised as long as they would be there."""
        if "flow_head" not in self._left:
            return
        until = self._left["flow_head"].get(0)["overflow_until"]
        head = self._maps["flow_head"].get(0)
        if until > head["overflow_until"]:
            head["overflow_until"] = until
            self._maps["flow_head"].put(0, head)

    def step(self) -> int:
        """Hand over all flows that had a packet since the step before began, at first all; return how many."""
        done, since = 0, self._since
        self._since = self._table.now() - _TICKS
        for records in self._read():
            if since is not None:
                records = records[(records["seen"] - np.uint32(since & 0xFFFFFFFF)).astype(np.int32) >= 0]
            for first in range(0, len(records), abi.MAX_IMPORTS):
                self._enter(records[first : first + abi.MAX_IMPORTS])
            done += len(records)
        return done

    def _enter(self, records: Array) -> None:
        imports = self._maps["imports"]
        imports.write(0, records)
        if len(records) < abi.MAX_IMPORTS:
            imports.put(len(records), np.zeros((), abi.IMPORT))
        if error := self._run.test_run(bytes(64)).retval >> 31:
            raise HostError(f"the kernel does not take over flows ({error})")
        self.failed += int(imports.read(0, len(records))["failed"].sum())

    def _read(self) -> Iterator[Array]:
        """Yield what there is in the old table, as records of ``imports``."""
        if self._before is not None:
            yield from (_of_today(part, self._before.now()) for part in self._before.records())
            return
        old = self._left["flows"]
        used = int(self._left["flow_table"].get(0)["next"])
        for first in range(0, used, 1 << 16):
            yield self._of_layout_1(old.read(first, min(1 << 16, used - first)))

    def _of_layout_1(self, rows: Array) -> Array:
        """Return the live flows among slots of xlvs 0.1 and 0.2."""
        state = rows["word"] & 0xFF
        rows = rows[(rows["word"] >> 32 != 0) & (state != _DEAD)]
        found = np.zeros(len(rows), abi.IMPORT)
        flags = rows["word"] >> 8 & 0xFF
        state = (rows["word"] & 0xFF).astype(np.uint8)
        found["client"], found["virt"] = rows["key"]["client"], rows["key"]["other"]
        found["ports"] = _ports(rows["key"]["cport"], rows["key"]["oport"])
        found["server"], found["proto"] = rows["server"], rows["key"]["proto"]
        found["state"] = np.where(state == _UDP, abi.FlowState.UDP, state)
        found["fwd"], found["local"] = flags >> _FWD_SHIFT, flags & _LOCAL != 0
        found["v6"] = _is_v6(rows["key"]["other"])
        age = np.maximum(time.clock_gettime_ns(time.CLOCK_MONOTONIC) - rows["seen"].astype(np.int64), 0)
        found["seen"] = (self._table.now() - age * self._table.hz() // _SECOND) & 0xFFFFFFFF
        found["in_bytes"], found["out_bytes"] = rows["in_bytes"], rows["out_bytes"]
        return found[state <= _UDP]


def _of_today(rows: Array, now: int) -> Array:
    found = np.zeros(len(rows), abi.IMPORT)
    for name in ("client", "virt", "server", "state", "fwd", "local"):
        found[name] = rows[name]
    found["ports"] = _ports(rows["cport"], rows["vport"])
    found["proto"] = np.where(is_template(rows), abi.PROTO_TEMPLATE, protocols(rows))
    found["v6"] = _is_v6(rows["virt"])
    found["seen"] = (now - rows["idle"].astype(np.int64)) & 0xFFFFFFFF
    found["in_bytes"], found["out_bytes"] = rows["in_bytes"], rows["out_bytes"]
    return found


def _ports(client: Array, virtual: Array) -> Array:
    """Return both ports as they lie in a packet of the client, read as one little-endian number."""
    low = client.astype(">u2").view("<u2").astype(np.uint32)
    found: Array = low | virtual.astype(">u2").view("<u2").astype(np.uint32) << np.uint32(16)
    return found


def _is_v6(addresses: Array) -> Array:
    """Say of virtual addresses whether they are of IPv6: clients of IPv6 may have mapped ones."""
    raw = np.ascontiguousarray(addresses).view(np.uint8).reshape(-1, 16)
    found: Array = (raw[:, :12] != np.frombuffer(MAPPED, np.uint8)).any(axis=1)
    return found
