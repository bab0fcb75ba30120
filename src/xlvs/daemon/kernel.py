"""The maps as the daemon sees them: plan writes in, layout, counters and flows out.

Translates between the values of `xlvs.plan` and the records of `bpf/abi.h`;
decides nothing.  The kernel's errno is raised as `OSError`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from xlvs.dataplane import _abi as abi
from xlvs.dataplane import hint_bits, pack_addr, unpack_addr
from xlvs.model import ServiceKey
from xlvs.model.server import Address
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout, Limits

Array = npt.NDArray[Any]

PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOL_NUMBERS.items()}
_FLAG_BITS = {"flag-1": abi.SCHED_F_FALLBACK, "flag-2": abi.SCHED_F_PORT, "flag-3": abi.SCHED_F_3}
_NO_ADDRESS = bytes(16)
_SECOND = 1_000_000_000


class Kernel:
    """The pinned maps of one instance, by name as in ``bpf/maps.h``."""

    def __init__(self, maps: Mapping[str, Any]) -> None:
        self._maps = maps
        self.limits = Limits(maps["services"].max_entries, maps["servers"].max_entries, maps["slots"].max_entries)

    def write(self, write: w.Write) -> None:
        """Make one write of a plan."""
        maps = self._maps
        match write:
            case w.PutAddress(address, flags):
                packed = pack_addr(address)
                (word,), (bits,) = hint_bits([packed], [flags])
                maps["addr_hints"].put(word, maps["addr_hints"].get(word) | bits)
                maps["addrs"].put(packed, flags)
            case w.DropAddress(address):
                maps["addrs"].delete(pack_addr(address))
            case w.PutServer(number, row):
                maps["servers"].put(number, _server_record(row))
            case w.DropServer(number):
                maps["servers"].put(number, np.zeros((), abi.SERVER))
            case w.PutNatServer(key, number):
                maps["nat_servers"].put(_key_record(*key), number)
            case w.DropNatServer(key):
                maps["nat_servers"].delete(_key_record(*key))
            case w.PutSlots(block, slots):
                maps["slots"].write(block, _blocks(slots))
            case w.PutTable(index, numbers):
                maps["tables"].put_table(index, numbers)
            case w.DropTable(index):
                maps["tables"].delete(index)
            case w.PutSchedState(index, pos, cw):
                maps["sched_state"].put(index, (pos, cw))
            case w.PutService(service, value):
                maps["services"].put(_service_key(service), _service_record(value))
            case w.DropService(service):
                maps["services"].delete(_service_key(service))

    def renew_hints(self) -> None:
        """Drop the hints of addresses that have gone: they are never wrong, but cost a packet a lookup."""
        addresses, flags = self._maps["addrs"].items()
        hints = np.zeros(abi.HINTS, np.uint64)
        np.bitwise_or.at(hints, *hint_bits(addresses, flags))
        self._maps["addr_hints"].write(0, hints)

    def layout(self) -> Layout:
        """Read back what is in the maps."""
        keys, values = self._maps["services"].items()
        services = {_read_key(key): self._read_service(value) for key, value in zip(keys, values, strict=True)}
        servers = self._maps["servers"].read()
        rows = {int(n): _read_server(servers[n]) for n in np.flatnonzero(servers["proto"])}
        addresses = zip(*self._maps["addrs"].items(), strict=True)
        nat = zip(*self._maps["nat_servers"].items(), strict=True)
        return Layout.read(
            self.limits,
            services,
            rows,
            {unpack_addr(address): int(flags) for address, flags in addresses},
            {(k.address, k.port, k.protocol): int(number) for key, number in nat if (k := _read_key(key))},
        )

    def sched_state(self, index: int) -> tuple[int, int]:
        """Return a scheduler's word: position, current weight."""
        record = self._maps["sched_state"].get(index)
        return int(record["pos"]), int(record["cw"])

    def loads(self, count: int) -> Array:
        """Return active and inactive flows of the first *count* server numbers, one row each."""
        records = self._maps["loads"].read(0, count)
        return np.stack([records["active"], records["inactive"]], axis=1)

    def stats(self, kind: str, count: int) -> Array:
        """Return the counters of the first *count* services or servers (*kind*), one row of five each."""
        records = self._maps[f"{kind}_stats"].totals(0, count)
        return np.stack([records[name] for name in abi.STATS.names or ()], axis=1).astype(np.int64)

    def stat(self, kind: str, number: int) -> Array:
        """Return the counters of one service or server (*kind*)."""
        record = self._maps[f"{kind}_stats"].total(number)
        return np.array([record[name] for name in abi.STATS.names or ()], np.int64)

    def reasons(self) -> dict[str, int]:
        """Return how many packets were dropped, by reason."""
        totals = self._maps["drops"].totals()
        return {reason.label: int(totals[reason]) for reason in abi.DropReason}

    def counters(self) -> dict[str, int]:
        """Return the counters of the whole director."""
        totals = self._maps["counters"].totals()
        return {counter.label: int(totals[counter]) for counter in abi.Counter}

    def configure(self, timeouts: Mapping[str, int], lo: int, icmp_per_second: int) -> None:
        """Set what holds for the whole director; *timeouts* in seconds, *lo* the loopback's index."""
        idle = {state: state.idle_s for state in abi.FlowState}
        idle[abi.FlowState.ESTABLISHED] = timeouts["tcp"]
        idle[abi.FlowState.FIN_WAIT] = timeouts["tcpfin"]
        idle[abi.FlowState.UDP] = timeouts["udp"]
        record = np.zeros((), abi.CONFIG)
        record["idle_ns"][: len(idle)] = [idle[state] * _SECOND for state in abi.FlowState]
        record["max_flows"] = self.max_flows
        record["lo"], record["icmp_per_second"], record["abi"] = lo, icmp_per_second, abi.ABI
        self._maps["config"].put(0, record)

    def forget_hops(self) -> None:
        """Have every flow ask the routing table for its next hop anew; unasked it does so twice a second."""
        record = self._maps["config"].get(0)
        record["hop_epoch"] += np.uint32(1)
        self._maps["config"].put(0, record)

    def pinned_abi(self) -> int:
        """Return the ABI version the maps were written with, 0 if they are new."""
        return int(self._maps["config"].get(0)["abi"])

    def put_interface(self, ifindex: int, mac: bytes, flags: int) -> None:
        """Say what an interface's own MAC address is and what XDP may do there (``XLVS_IF_*``).

        An interface whose slot another one has is left out: XDP leaves its packets to TC.
        """
        if self._slot_holder(ifindex) in (0, ifindex):
            self._maps["interfaces"].put(ifindex % abi.MAX_INTERFACES, (ifindex, flags, list(mac)))

    def drop_interface(self, ifindex: int) -> None:
        """Forget an interface."""
        if self._slot_holder(ifindex) == ifindex:
            self._maps["interfaces"].put(ifindex % abi.MAX_INTERFACES, np.zeros((), abi.INTERFACE))

    def interfaces(self) -> set[int]:
        """Return the indices of the interfaces in the map."""
        return {int(ifindex) for ifindex in self._maps["interfaces"].read()["ifindex"] if ifindex}

    def _slot_holder(self, ifindex: int) -> int:
        return int(self._maps["interfaces"].get(ifindex % abi.MAX_INTERFACES)["ifindex"])

    @property
    def max_flows(self) -> int:
        """How many flows fit."""
        return int(self._maps["flows"].max_entries)

    def live_flows(self) -> int:
        """Return how many flows there are."""
        return int(self._maps["flow_table"].get(0)["live"])

    def flows(self) -> tuple[Array, Array]:
        """Return the records of all flows that are not expired, and the seconds each may still be idle."""
        records = self._maps["flows"].read(0, int(self._maps["flow_table"].get(0)["next"]))
        # Generation 0: never used; beyond the last state: given back.
        records = records[(records["word"] >> 32 != 0) & (records["word"] & 0xFF < len(abi.FlowState))]
        idle = self._maps["config"].get(0)["idle_ns"].astype(np.int64)
        age = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - records["seen"].astype(np.int64)
        left = idle[(records["word"] & 0xFF).astype(np.int64)] - age
        return records[left >= 0], left[left >= 0] // _SECOND

    def _read_service(self, value: Any) -> w.ServiceRow:
        count = int(value["n"])
        blocks = self._maps["slots"].read(int(value["block"]), -(-count // abi.SLOTS_PER_BLOCK)) if count else ()
        slots = [(int(s["server"]), int(s["weight"])) for block in blocks for s in block["slot"]]
        flags = frozenset(name for name, bit in _FLAG_BITS.items() if value["sched_flags"] & bit)
        return w.ServiceRow(
            int(value["id"]),
            int(value["half"]),
            int(value["block"]),
            tuple(slots[:count]),
            abi.Sched(int(value["sched"])).label,
            flags,
            int(value["table_size"]),
            int(value["max_weight"]),
            int(value["gcd"]),
        )


def _key_record(address: Address, port: int, protocol: str) -> tuple[bytes, int, int, int]:
    return pack_addr(address), port, PROTOCOL_NUMBERS[protocol], 0


def _service_key(key: ServiceKey) -> tuple[bytes, int, int, int]:
    return _key_record(key.address, key.port, key.protocol)


def _read_key(key: Any) -> ServiceKey:
    return ServiceKey(PROTOCOL_NAMES[int(key["proto"])], unpack_addr(key["addr"]), int(key["port"]))


def _service_record(row: w.ServiceRow) -> tuple[int, ...]:
    flags = sum(_FLAG_BITS[flag] for flag in row.flags)
    sched = abi.Sched[row.scheduler.upper()]
    return (
        row.id, row.half, row.block, len(row.slots), row.table_size, row.max_weight, row.gcd, sched, flags, 0
    )  # fmt: skip


def _server_record(row: w.ServerRow) -> tuple[Any, ...]:
    return (
        pack_addr(row.address),
        pack_addr(row.src) if row.src else _NO_ADDRESS,
        pack_addr(row.key.address),
        row.key.port,
        row.port,
        row.weight,
        row.service,
        abi.Fwd[row.forward.upper()],
        abi.SERVER_LIVE if row.live else 0,
        PROTOCOL_NUMBERS[row.key.protocol],
        0,
    )


def _read_server(record: Any) -> w.ServerRow:
    src = bytes(record["src"])
    return w.ServerRow(
        ServiceKey(PROTOCOL_NAMES[int(record["proto"])], unpack_addr(record["virt"]), int(record["vport"])),
        int(record["service"]),
        unpack_addr(record["addr"]),
        int(record["port"]),
        abi.Fwd(int(record["fwd"])).label,
        int(record["weight"]),
        unpack_addr(src) if src != _NO_ADDRESS else None,
        bool(record["flags"] & abi.SERVER_LIVE),
    )


def _blocks(slots: tuple[tuple[int, int], ...]) -> Array:
    blocks = np.zeros(-(-len(slots) // abi.SLOTS_PER_BLOCK), abi.BLOCK)
    flat = blocks["slot"].reshape(-1)
    flat[: len(slots)] = np.array(list(slots), abi.SLOT)
    blocks["slot"] = flat.reshape(blocks["slot"].shape)
    return blocks
