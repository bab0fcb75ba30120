"""The maps in memory: takes the writes of plans, and says after each one what a packet would find."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.model import Address, ServiceKey
from xlvs.plan import records as r
from xlvs.plan import writes as w
from xlvs.plan.layout import Layout, Limits
from xlvs.plan.reading import read_layout, settle


class Shown(NamedTuple):
    """One server as the walk finds it."""

    address: str
    port: int
    forward: str
    weight: int


class FakeMaps:
    """What the real maps would hold; `flows` are the flows that a test says a server has."""

    def __init__(self, services: int = 64, servers: int = 256, blocks: int = 64) -> None:
        self.limits = Limits(services, servers, blocks)
        self.arrays = {
            "servers": np.zeros(servers, abi.SERVER),
            "server_options": np.zeros(servers, abi.OPTIONS),
            "slots": np.zeros(blocks, abi.BLOCK),
            "sched_state": np.zeros(2 * services, abi.SCHED_STATE),
        }
        self.hashes: dict[str, dict[bytes, Any]] = {"services": {}, "addrs": {}, "nat_servers": {}}
        self.dtypes = {
            "services": (abi.SERVICE_KEY, abi.VERSIONS),
            "addrs": (abi.ADDR, np.dtype("<u4")),
            "nat_servers": (abi.SERVICE_KEY, np.dtype("<u4")),
        }
        self.tables: dict[int, list[int]] = {}
        self.now = 0
        self.flows: dict[int, int] = {}

    def write(self, write: w.Write) -> None:
        """Make one write."""
        match write:
            case w.Put(name, keys, values) if name in self.arrays:
                self.arrays[name][keys] = values
            case w.Put(name, keys, values):
                self.hashes[name].update(zip(r.as_bytes(keys), np.asarray(values), strict=True))
                if name == "services":
                    assert len(self.hashes[name]) <= self.limits.services
            case w.Drop("tables", keys):
                for key in keys.tolist():
                    self.tables.pop(key, None)
            case w.Drop(name, keys):
                for key in r.as_bytes(keys):
                    self.hashes[name].pop(key, None)
            case w.PutTables(indices, tables):
                self.tables.update(zip(indices, (table.tolist() for table in tables), strict=True))
            case w.Turn(epoch):
                self.now = epoch

    def items(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return keys and values of a hash."""
        key, value = self.dtypes[name]
        found = self.hashes[name]
        return np.frombuffer(b"".join(found), key), np.array(list(found.values()), value)

    def epoch(self) -> int:
        """Return the epoch."""
        return self.now

    def settle(self) -> str:
        """Do as a daemon that starts."""
        keys, values = self.items("services")
        writes, outcome = settle(keys, values, self.arrays["servers"], self.now)
        for write in writes:
            self.write(write)
        return outcome

    def layout(self) -> Layout:
        """Read everything back, as a daemon does that adopts the maps."""
        keys, values = self.items("services")
        rows, options = self.arrays["servers"].copy(), self.arrays["server_options"].copy()
        addresses, nat_servers = self.items("addrs"), self.items("nat_servers")
        return read_layout(self.limits, rows, options, keys, values, self.arrays["slots"], addresses, nat_servers)

    def sched_state(self, index: int) -> tuple[int, int]:
        """Return a scheduler's word."""
        record = self.arrays["sched_state"][index]
        return int(record["pos"]), int(record["cw"])

    def set_state(self, index: int, pos: int, cw: int = 0) -> None:
        """Set a scheduler's word, as choices do."""
        self.arrays["sched_state"][index] = (pos, cw)

    def versions(self) -> dict[ServiceKey, tuple[Any, Any]]:
        """Return the present and the coming version of each service."""
        keys, values = self.items("services")
        found = {}
        for key, value in zip(r.read_service_keys(keys), values, strict=True):
            turned = value["turn"] and value["turn"] == self.now
            found[key] = (value["next"], value["next"]) if turned else (value["now"], value["next"])
        return found

    def services(self) -> dict[ServiceKey, Any]:
        """Return what packets find."""
        return {key: now for key, (now, _) in self.versions().items() if now["present"]}

    def lives(self, number: int) -> bool:
        """Say whether a server's flows are forwarded."""
        life = int(self.arrays["servers"]["life"][number])
        turn = life >> abi.LIFE_TURN_SHIFT
        return bool((life ^ (turn != 0 and turn == self.now)) & r.LIVE)

    def slots(self, value: Any) -> list[tuple[int, int, int]]:
        """Return number, forwarding method and weight of each slot of a service, newest first."""
        first = int(value["block"]) * abi.SLOTS_PER_BLOCK
        slots = self.arrays["slots"]["slot"].reshape(-1)[first : first + int(value["n"])]
        mask = abi.RUN - 1
        return [(int(c) & mask, int(c) >> abi.CHOICE_FWD_SHIFT, int(weight)) for c, weight in slots]

    def addresses(self) -> dict[Address, int]:
        """Return the flags of every address."""
        keys, values = self.items("addrs")
        return {Address(key): int(flags) for key, flags in zip(keys.tolist(), values, strict=True)}

    def nat_servers(self) -> dict[tuple[str, int], int]:
        """Return the numbers of nat servers by address and port."""
        keys, values = self.items("nat_servers")
        return {(str(key.address), key.port): int(n) for key, n in zip(r.read_service_keys(keys), values, strict=True)}

    def numbers(self) -> list[int]:
        """Return the numbers of all server rows."""
        return np.flatnonzero(self.arrays["servers"]["proto"]).tolist()

    def check(self) -> None:
        """Assert what must hold after every single write: whatever a service points at is whole."""
        addresses = self.addresses()
        for key, value in self.services().items():
            assert addresses[key.address] & r.VIP
            for number, fwd, _ in self.slots(value):
                self._check_server(number, fwd, key, int(value["index"]) // 2, addresses)
            if value["table_size"]:
                table = self.tables[int(value["index"])]
                assert len(table) == value["table_size"]
                known = {number for number, _, _ in self.slots(value)}
                if value["sched"] in (abi.Sched.RR, abi.Sched.WRR):  # a ring of places
                    known = {place for place, (_, _, weight) in enumerate(self.slots(value)) if weight}
                assert {choice & (abi.RUN - 1) for choice in table if choice != abi.NO_SERVER} <= known
        for number, flows in self.flows.items():
            if flows:
                assert addresses[Address(bytes(self.arrays["servers"]["virt"][number]))] & r.VIP

    def _check_server(
        self, number: int, fwd: int, key: ServiceKey, service: int, addresses: dict[Address, int]
    ) -> None:
        row = self.arrays["servers"][number]
        assert self.lives(number)
        assert (bytes(row["virt"]), int(row["vport"]), int(row["service"])) == (key.address, key.port, service)
        if fwd == r.NAT:
            assert addresses[Address(bytes(row["addr"]))] & r.SERVER
        elif bytes(row["src"]) != r.NO_ADDRESS:
            assert addresses[Address(bytes(row["src"]))] & r.DIRECTOR

    def shown(self, key: ServiceKey) -> list[Shown]:
        """Return what the walk finds under *key*, newest first."""
        rows = self.arrays["servers"]
        return [
            Shown(str(Address(bytes(rows["addr"][n]))), int(rows["port"][n]), r.FORWARD_NAMES[fwd], weight)
            for n, fwd, weight in self.slots(self.services()[key])
        ]

    def in_force(self) -> dict[ServiceKey, tuple[str, list[Shown]]]:
        """Return all that packets find: scheduler and servers by service."""
        return {key: (abi.Sched(int(v["sched"])).label, self.shown(key)) for key, v in self.services().items()}
