"""A flow table without a kernel: the real reader over memory of this process, written as the programs write it."""

from __future__ import annotations

import mmap
import os
import time
from typing import Any

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import FlowTable, table_sizes
from xlvs.model import Address

HZ = 100
NOW = (7 << 32) + 1_000_000
"""Jiffies, which stand still."""


class FakeMap:
    """An array in shared memory, or a dictionary."""

    def __init__(self, value: np.dtype[Any], entries: int = 0) -> None:
        self.value_dtype, self.max_entries = value, entries
        self.held: dict[int, Any] = {}
        if entries:
            size = -(-entries * value.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE
            self.fd = os.memfd_create("xlvs-test")
            os.ftruncate(self.fd, size)
            self.memory = mmap.mmap(self.fd, size)
            self.values = np.frombuffer(self.memory, value, entries)

    def close(self) -> None:
        """Close the descriptor; who has mapped the memory keeps it."""
        if self.max_entries:
            os.close(self.fd)

    def get(self, key: int) -> Any:
        """Return a value, or None."""
        return self.held.get(key)

    def items(self) -> tuple[Any, Any]:
        """Return all keys and values."""
        return np.array(list(self.held)), np.array(list(self.held.values()), self.value_dtype)


class FakeSweep(FakeMap):
    """A clock that stands still."""

    def get(self, key: int) -> Any:
        """Return the two clocks at this moment."""
        found = np.zeros((), abi.SWEEP)
        found["jiffies"], found["ns"] = NOW, time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        return found


class FakeTable:
    """The maps of a table, and *table*, which reads them."""

    def __init__(self, flows: int = 4096) -> None:
        sizes = table_sizes(flows)
        config = np.zeros((), abi.CONFIG)
        config["hz"] = HZ
        for state in abi.FlowState:
            config["idle"][state] = state.idle_s * HZ
        self.maps: dict[str, Any] = {
            "flows4": FakeMap(abi.BUCKET, sizes["flows4"]),
            "flows6": FakeMap(abi.BUCKET6, sizes["flows6"]),
            "flow_stripes": FakeMap(abi.STRIPE, sizes["flow_stripes"]),
            "flow_spill": FakeMap(abi.FLOW6),
            "flow_wide": FakeMap(abi.WIDE),
            "config": FakeMap(abi.CONFIG),
            "sweep": FakeSweep(abi.SWEEP),
        }
        self.maps["config"].held[0] = config
        self.table = FlowTable(self.maps)
        for held in self.maps.values():
            held.close()
        self._next = {4: 0, 6: 0}

    def add(
        self,
        client: tuple[str, int],
        virtual: tuple[str, int],
        server: int,
        state: str = "ESTABLISHED",
        *,
        idle_s: float = 0,
        sizes: tuple[int, int] = (0, 0),
        spilled: bool = False,
    ) -> Any:
        """Enter a flow with so many bytes in and out, in the next slot or in the spill; return its slot."""
        ends = [np.frombuffer(Address.parse(address), "<u4") for address, _ in (client, virtual)]
        family = Address.parse(client[0]).version
        number = self._next[family]
        if spilled:
            slot: Any = np.zeros((), abi.FLOW6)
            self.maps["flow_spill"].held[len(self.maps["flow_spill"].held)] = slot
            self.maps["flow_stripes"].values["spilled"][0] += 1
        else:
            slot = self.maps[f"flows{family}"].values["flow"].reshape(-1)[number : number + 1]
            self._next[family] += 1
        low = slot if family == 4 and not spilled else slot["low"]
        low["client"], low["virt"] = ends[0][3], ends[1][3]
        low["cport"], low["vport"] = client[1], virtual[1]
        low["seen"] = (NOW - int(idle_s * HZ)) & 0xFFFFFFFF
        self._count(low, number, family, sizes)
        if low is not slot:
            slot["client"], slot["virt"] = ends[0][:3], ends[1][:3]
        low["life"] = (server << abi.FLOW_SERVER_SHIFT) | (int(abi.FlowState[state]) ^ abi.FLOW_FREE)
        stripe = number // (abi.WAYS << abi.STRIPE_SHIFT)
        at = stripe + (len(self.maps["flow_stripes"].values) // 2 if family == 6 else 0)
        self.maps["flow_stripes"].values["used"][at] = 1
        return slot

    def _count(self, low: Any, number: int, family: int, sizes: tuple[int, int]) -> None:
        """Write how many bytes there were; what is beyond 2^30 goes to ``flow_wide``."""
        rest = [size % (1 << 30) for size in sizes]
        more = np.zeros((), abi.WIDE)
        for name, size, left in zip(("in_bytes", "out_bytes"), sizes, rest, strict=True):
            low[name], more[name] = left | (abi.FLOW_WIDE if left < size else 0), size - left
        if any(more.tolist()):
            self.maps["flow_wide"].held[number | (abi.PLACE_V6 if family == 6 else 0)] = more
