"""The maps as the daemon sees them: plan writes in, layout, counters and flows out.

Decides nothing.  The kernel's errno is raised as `OSError`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi
from xlvs.dataplane import hint_bits
from xlvs.dataplane.flows import FlowTable
from xlvs.model import sysctls
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout, Limits
from xlvs.plan.reading import read_layout, settle
from xlvs.plan.records import as_bytes

Array = npt.NDArray[Any]

_CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h


_TIMEOUTS = {
    "tcp": abi.FlowState.ESTABLISHED.idle_s,
    "tcpfin": abi.FlowState.FIN_WAIT.idle_s,
    "udp": abi.FlowState.UDP.idle_s,
}

_SYSCTL_BITS = {
    "sloppy_tcp": abi.SYSCTL_SLOPPY_TCP,
    "sloppy_sctp": abi.SYSCTL_SLOPPY_SCTP,
    "expire_nodest_conn": abi.SYSCTL_EXPIRE_NODEST,
    "expire_quiescent_template": abi.SYSCTL_EXPIRE_QUIESCENT,
    "nat_icmp_send": abi.SYSCTL_NAT_ICMP_SEND,
    "pmtu_disc": abi.SYSCTL_PMTU_DISC,
    "schedule_icmp": abi.SYSCTL_SCHEDULE_ICMP,
    "cache_bypass": abi.SYSCTL_CACHE_BYPASS,
}
_ON = (2, 3)
"""The modes of a defence that is in force: for now, and always (ip_vs_ctl.c, update_defense_level)."""

_PREVIOUS = {"xlvs_xdp": ("previous_xdp", 0), "xlvs_in": ("previous_tc", 0), "xlvs_lo": ("previous_tc", 1)}
"""Where the program before finds its place, by its name."""


class Kernel:
    """The pinned maps of one instance, by name as in ``bpf/maps.h``."""

    def __init__(self, maps: Mapping[str, Any]) -> None:
        self._maps = maps
        self._flows = FlowTable(maps)
        room = {name: maps[name].max_entries for name in maps}
        self.limits = Limits(
            min(room["services"], room["service_stats"], room["sched_state"] // 2),
            min(room[name] for name in ("servers", "server_options", "loads", "server_stats")),
            room["slots"],
        )

    def write(self, write: w.Write) -> None:
        """Make one write of a plan."""
        maps = self._maps
        match write:
            case w.Put(name, keys, values):
                if name == "addrs":
                    self._hint(keys, values)
                maps[name].write_at(keys, values)
            case w.Drop("tables", keys):
                for key in keys:
                    maps["tables"].delete(key)
            case w.Drop(name, keys):
                maps[name].delete_many(keys)
            case w.PutTables(indices, tables):
                maps["tables"].put_tables(indices, tables)
            case w.Turn(epoch):
                maps["epoch"].store(0, epoch)

    def _hint(self, addresses: Array, flags: Array) -> None:
        """Give addresses their hints, before they get their flags."""
        words, bits = hint_bits(addresses, flags)
        hints = self._maps["addr_hints"].read()
        before = hints.copy()
        np.bitwise_or.at(hints, words, bits)
        changed = np.flatnonzero(hints != before)
        self._maps["addr_hints"].write_at(changed, hints[changed])

    def renew_hints(self) -> None:
        """Drop the hints of addresses that have gone: they are never wrong, but cost a packet a lookup."""
        addresses, flags = self._maps["addrs"].items()
        hints = np.zeros(abi.HINTS, np.uint64)
        np.bitwise_or.at(hints, *hint_bits(addresses, flags))
        self._maps["addr_hints"].write(0, hints)

    def epoch(self) -> int:
        """Return the epoch, 0 in new maps."""
        return int(self._maps["epoch"].get(0))

    def settle(self) -> str:
        """Finish, or take back, the change that a daemon left half done; return "completed", "undone" or ""."""
        keys, values = self._maps["services"].items()
        writes, outcome = settle(keys, values, self._maps["servers"].read(), self.epoch())
        for write in writes:
            self.write(write)
        return outcome

    def layout(self) -> Layout:
        """Read back what is in the maps, once they are settled."""
        maps = self._maps
        rows = maps["servers"].read(0, self.limits.servers)
        options = maps["server_options"].read(0, self.limits.servers)
        keys, values = maps["services"].items()
        addresses, nat_servers = maps["addrs"].items(), maps["nat_servers"].items()
        return read_layout(self.limits, rows, options, keys, values, maps["slots"].read(), addresses, nat_servers)

    def sched_state(self, index: int) -> tuple[int, int]:
        """Return a scheduler's word: position, current weight."""
        record = self._maps["sched_state"].get(index)
        return int(record["pos"]), int(record["cw"])

    def loads(self, count: int) -> Array:
        """Return active and inactive flows and templates of the first *count* server numbers, one row each."""
        records = self._maps["loads"].read(0, count)
        return np.stack([records["active"], records["inactive"], records["persistent"]], axis=1)

    def load(self, number: int) -> tuple[int, int, int]:
        """Return active and inactive flows and templates of one server."""
        record = self._maps["loads"].get(number)
        return max(int(record["active"]), 0), max(int(record["inactive"]), 0), max(int(record["persistent"]), 0)

    def stats(self, kind: str, count: int) -> Array:
        """Return the counters of the first *count* services or servers (*kind*), one row of five each."""
        found: Array = self._maps[f"{kind}_stats"].sums(0, count).view(np.int64)
        return found

    def some_stats(self, kind: str, numbers: Array) -> Array:
        """Return the counters of services or servers (*kind*) of these numbers, one row of five each."""
        if len(numbers) > 64:
            low, high = int(numbers.min()), int(numbers.max())
            near: Array = self._maps[f"{kind}_stats"].sums(low, high - low + 1).view(np.int64)
            return near[numbers.astype(np.int64) - low]
        return np.array([self.stat(kind, int(number)) for number in numbers], np.int64).reshape(-1, 5)

    def stat(self, kind: str, number: int) -> Array:
        """Return the counters of one service or server (*kind*)."""
        found: Array = self._maps[f"{kind}_stats"].sums(number, 1)[0].view(np.int64)
        return found

    def calls(self) -> dict[bytes, tuple[bytes, bytes]]:
        """Return client and Call-ID by the digest that stands for both in templates."""
        if not int(self._maps["config"].get(0)["engines"]):
            return {}
        digests, found = self._maps["sip_calls"].items()
        texts = (bytes(call["id"])[: int(call["len"])] for call in found)
        return dict(zip(as_bytes(digests), zip(as_bytes(found["client"]), texts, strict=True), strict=True))

    def reasons(self) -> dict[str, int]:
        """Return how many packets were dropped, by reason."""
        totals = self._maps["drops"].totals()
        return {reason.label: int(totals[reason]) for reason in abi.DropReason}

    def counters(self) -> dict[str, int]:
        """Return the counters of the whole director."""
        totals = self._maps["counters"].totals()
        return {counter.label: int(totals[counter]) for counter in abi.Counter}

    def count(self, counter: abi.Counter) -> int:
        """Return one counter of the whole director."""
        return int(self._maps["counters"].totals(counter, 1)[0])

    def configure(
        self, timeouts: Mapping[str, int], lo: int, icmp_per_second: int, written: Mapping[str, str] | None = None
    ) -> None:
        """Set what holds for the whole director; *timeouts* in seconds, *lo* the loopback's index.

        *written* are the sysctls that are not as they were at first, as in force (`xlvs.model.defences`).
        """
        idle = {state: state.idle_s for state in abi.FlowState}
        idle[abi.FlowState.ESTABLISHED] = timeouts["tcp"]
        idle[abi.FlowState.FIN_WAIT] = timeouts["tcpfin"]
        idle[abi.FlowState.UDP] = timeouts["udp"]
        hz = ticks_per_second()
        record = self._maps["config"].get(0)
        record["idle"][list(idle)] = [seconds * hz for seconds in idle.values()]
        # A moment is the largest power of two of jiffies that is not longer than half a second.
        record["hz"], record["moment_shift"] = hz, (hz // 2).bit_length() - 1
        record["lo"], record["icmp_per_second"], record["abi"] = lo, icmp_per_second, abi.ABI
        record["sysctls"], record["drop_rate"] = _switches(written or {})
        for name in ("lblc", "lblcr"):
            record[f"{name}_s"] = max(sysctls.value(written or {}, f"{name}_expiration"), 0)
        self._maps["config"].put(0, record)

    def begin_table(self) -> None:
        """Give a new flow table its sizes, and the seed that nobody outside knows."""
        if not self._maps["config"].get(0)["hz"]:
            self.configure(_TIMEOUTS, 0, 0)
        head = self._maps["flow_head"].get(0)
        if not head["buckets"][0]:
            self._maps["flow_head"].put(0, new_head(self._maps))

    def forget_hops(self) -> None:
        """Have every flow ask the routing table for its next hop anew; unasked it does so twice a second."""
        record = self._maps["config"].get(0)
        record["hop_epoch"] += np.uint32(1)
        self._maps["config"].put(0, record)

    def segment_by(self, ifindex: int) -> None:
        """Say which device cuts GSO packets up."""
        record = self._maps["config"].get(0)
        record["segmenter"] = ifindex
        self._maps["config"].put(0, record)

    def take_marked(self, ifindex: int) -> None:
        """Say by which device packets come whose firewall mark may be a service's; 0: by none."""
        record = self._maps["config"].get(0)
        record["marker"] = ifindex
        self._maps["config"].put(0, record)

    def heed_calls(self, services: int) -> None:
        """Say how many services go by the Call-ID of SIP."""
        record = self._maps["config"].get(0)
        record["engines"] = services
        self._maps["config"].put(0, record)

    def put_matches(self, keys: Array, values: Array) -> None:
        """Say which packets get a firewall mark from xlvs, and which no longer do (`xlvs.plan.matching`)."""
        have, _ = self._maps["matches"].items()
        self._maps["matches"].write_at(keys, values)
        record = self._maps["config"].get(0)
        record["matches"] = len(keys)
        self._maps["config"].put(0, record)
        kept = {key.tobytes() for key in keys}
        for key in have:
            if key.tobytes() not in kept:
                self._maps["matches"].delete(key)

    def put_interface(self, ifindex: int, mac: bytes, flags: int) -> None:
        """Say what an interface's own MAC address is and what XDP may do there (``XLVS_IF_*``).

        An interface whose slot another one has is left out: XDP leaves its packets to TC.
        """
        slot, interfaces = ifindex % abi.MAX_INTERFACES, self._maps["interfaces"]
        record = np.array((ifindex, flags, list(mac)), abi.INTERFACE)[()]
        before = interfaces.get(slot)
        if before["ifindex"] in (0, ifindex) and before != record:
            interfaces.put(slot, record)
            self.forget_hops()

    def drop_interface(self, ifindex: int) -> None:
        """Forget an interface."""
        if self._slot_holder(ifindex) == ifindex:
            self._maps["interfaces"].put(ifindex % abi.MAX_INTERFACES, np.zeros((), abi.INTERFACE))
            self.forget_hops()

    def interfaces(self) -> set[int]:
        """Return the indices of the interfaces in the map."""
        return {int(ifindex) for ifindex in self._maps["interfaces"].read()["ifindex"] if ifindex}

    def _slot_holder(self, ifindex: int) -> int:
        return int(self._maps["interfaces"].get(ifindex % abi.MAX_INTERFACES)["ifindex"])

    def hand_over(self, mode: int, programs: Mapping[str, int]) -> None:
        """Say which packets go to the *programs* before (descriptors by name): none, or ``XLVS_HANDOVER_*``."""
        for name, (table, index) in _PREVIOUS.items():
            if name in programs:
                self._maps[table].put(index, programs[name])
        record = self._maps["config"].get(0)
        record["handover"] = mode
        record["handover_to"] = self._maps["flow_head"].get(0)["seed"][0] & np.uint64(0xFFFFFFFF)
        self._maps["config"].put(0, record)
        if not mode:
            for table, index in _PREVIOUS.values():
                self._maps[table].delete(index)

    @property
    def flows(self) -> FlowTable:
        """The flow table."""
        return self._flows

    def live_flows(self) -> int:
        """Return how many flows there are."""
        loads = self._maps["loads"].read()
        return int(loads["active"].sum(dtype=np.int64) + loads["inactive"].sum(dtype=np.int64))


def _switches(given: Mapping[str, str]) -> tuple[int, int]:
    """Return the bits of the switches that are on, and of how many new connections one is refused (0: of none)."""
    bits = sum(bit for name, bit in _SYSCTL_BITS.items() if sysctls.value(given, name))
    reuse = sysctls.value(given, "conn_reuse_mode")
    bits |= abi.SYSCTL_REUSE if reuse else 0
    bits |= abi.SYSCTL_REUSE_NO_OUTPUT if reuse & 2 else 0
    bits |= abi.SYSCTL_SECURE_TCP if sysctls.value(given, "secure_tcp") in _ON else 0
    bits |= abi.SYSCTL_DROP_ENTRY if sysctls.value(given, "drop_entry") in _ON else 0
    rate = sysctls.value(given, "am_droprate") if sysctls.value(given, "drop_packet") in _ON else 0
    return bits, rate if rate >= 0 else 1


def ticks_per_second() -> int:
    """Return how many jiffies are a second: the coarse clocks move once per tick (kernel/time/posix-timers.c)."""
    return round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE))


def new_head(maps: Mapping[str, Any]) -> Any:
    """Return the record of ``flow_head`` for tables of the size that these *maps* have."""
    head = np.zeros((), abi.HEAD)
    head["seed"] = np.frombuffer(os.urandom(16), np.uint64)
    buckets = [maps[name].max_entries & ~1 for name in ("flows4", "flows6")]
    head["buckets"], head["stripes"] = buckets, [-(-n // (1 << abi.STRIPE_SHIFT)) for n in buckets]
    head["spill"] = maps["flow_spill"].max_entries
    return head
