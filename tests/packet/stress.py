"""Two CPUs at once, with packets of the same flows, on one flow table.

stress.bpf.c makes the packets and judges what becomes of them; here is what sets it up and sums it up.
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.packet import network as net
from tests.packet.director import DEVICES, SIZES, Director
from tests.packet.frames import at
from tests.packet.releases import compiled
from tests.packet.table_state import Held, faults, held
from xlvs.dataplane import OBJECTS, Loader
from xlvs.dataplane import _abi as abi
from xlvs.dataplane.flows import table_sizes
from xlvs.demo.wait import until
from xlvs.model import Address

HERE = Path(__file__).resolve().parent
SERVICES = SERVERS = 8
LENGTH = {4: 54, 6: 74}

SYN, ACK, FIN, RST = range(4)
REPLY = 4
KINDS = {"S": SYN, "A": ACK, "F": FIN, "R": RST, "s": SYN | REPLY, "a": ACK | REPLY, "f": FIN | REPLY, "r": RST | REPLY}
"""A script's letters: small ones are the server's."""

_ROUTES = """
neighbour add 198.51.100.8 lladdr 02:00:00:00:01:08 dev outside nud permanent
neighbour add 2001:db8:c::8 lladdr 02:00:00:00:01:08 dev outside nud permanent
route add 100.64.0.0/16 via 198.51.100.7 dev outside
route add 100.65.0.0/16 via 198.51.100.8 dev outside
route add 2001:db8:d::/48 via 2001:db8:c::7 dev outside
route add 2001:db8:e::/48 via 2001:db8:c::8 dev outside
"""
"""Two groups of clients, each behind a next hop of its own."""


class Rig:
    """A director, the programs that stress it, and two CPUs; use it inside *network* only."""

    def __init__(self, scratch: Path, *, spill: int = 16, flows: int = 1 << 14) -> None:
        subprocess.run(["ip", "-batch", "-"], input=_ROUTES, text=True, check=True)
        objects = [OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o"]
        for name in ("stress", "sweep_now"):
            objects.append(compiled((HERE / f"{name}.bpf.c").read_text(), scratch / f"{name}.bpf.o"))
        many = {
            "servers": 1024,
            "server_options": 1024,
            "loads": 1024,
            "server_stats": 1024,
            "service_stats": 64,
            "services": 64,
        }
        many |= {"slots": 256, "sched_state": 128, "tables": 128, "addrs": 256, "nat_servers": 1024}
        self.loaded = Loader(objects, sizes=SIZES | table_sizes(flows) | many | {"flow_spill": spill}).load()
        self.maps, self._programs = self.loaded.maps, self.loaded.programs
        self.director = Director(self.loaded)
        self.maps["stressed"].put(0, self._programs["xlvs_xdp"].fd)
        self.cpus = sorted(os.sched_getaffinity(0))[:2]

    def begin(
        self, *, several: bool = False, buckets: int = 0, spill: int | None = None, idle: int | None = None
    ) -> None:
        """Empty the table and everything else, and put the services in force.

        *idle* is the timeout of all states, in jiffies.  With *several*, services have all servers, else one each.
        """
        self.director.reset()
        self.director.configure(buckets=buckets, spill=spill)
        for name in DEVICES:
            self.director.interface(name, abi.IF_XMIT)
        self.hurry(idle)
        for family in (4, 6):
            for protocol in ("tcp", "udp"):
                for service in range(SERVICES):
                    forward = "route" if service % 2 else "nat"
                    servers = range(1, SERVERS + 1) if several else [service + 1]
                    ends = [self._end(family, forward, n, service) for n in servers]
                    key = f"{at(net.VIP[family], 80 + service)}/{protocol}"
                    self.director.service(key, *(f"{end} {forward}" for end in ends))
        for name in ("sent", "tally", "server_of"):
            stored = self.maps[name]._stored
            self.maps[name].write(0, np.zeros(self.maps[name].max_entries, stored))
        self._several = several

    @staticmethod
    def _end(family: int, forward: str, number: int, service: int) -> str:
        return at(net.server(family, number), (8080 if forward == "nat" else 80) + service)

    def drive(
        self, packets: int, script: str, *, families: tuple[int, int] = (4, 4), flows: int = 64, share: int = 1,
        udp: int = 0, burst: bool = False, lockstep: bool = False, apart: bool = False, seed: int = 1,
        here: bool = False,
    ) -> None:  # fmt: skip
        """Give each CPU *packets*, of its family; with *burst* flow by flow in the order of *script*, else any of both.

        *apart*: each CPU takes flows in an order of its own.  *here*: on the first CPU alone, where the caller is.
        """
        for family in sorted(set(families)):
            mine = [cpu for cpu, wants in zip(self.cpus, families, strict=True) if wants == family]
            value = np.zeros((), self.maps["run"].value_dtype)
            for name, given in {
                "random": seed * 0x2545F4914F6CDD1D & (1 << 64) - 1 or 1, "flows": flows, "share": share, "udp": udp,
                "burst": len(script) if burst else 0, "length": len(script), "several": self._several,
                "lockstep": lockstep, "fresh": 1, "cpu": self.cpus[0], "apart": apart, "v6": family == 6,
            }.items():  # fmt: skip
                value[name] = given
            value["script"][: len(script)] = [KINDS[letter] for letter in script]
            self._put_on(mine, value)
        self.maps["steps"].write(0, np.zeros(2, self.maps["steps"].value_dtype))
        if here:
            self._batch(threading.Barrier(1), families[0], packets)
            return
        at_once = threading.Barrier(2)
        self.together(*(partial(self._batch, at_once, family, packets) for family in families))

    def hurry(self, idle: int | None) -> None:
        """Make *idle* jiffies the timeout of all states; None: as it is."""
        if idle is not None:
            record = self.maps["config"].get(0)
            record["idle"][:] = idle
            self.maps["config"].put(0, record)

    def lose_patience(self) -> None:
        """Let a connection be half open for long as soon as it is: a second has no jiffies."""
        record = self.maps["config"].get(0)
        record["hz"] = 0
        self.maps["config"].put(0, record)

    def expire(self) -> None:
        """Let all flows end; at once, where the timer takes two seconds for a large table."""
        self.hurry(0)
        until(self._is_empty, "flows stay in the table")

    def _is_empty(self) -> bool:
        self.sweep(1)
        return not self.held()

    def held(self) -> list[Held]:
        """Return all flows in the table."""
        return held(self.maps)

    def settle(self) -> None:
        """Let no flow expire any more, and wait until no sweep is under way that does not know."""
        self.hurry(1 << 30)
        before = self.director.counters().get("sweeps", 0)
        until(lambda: self.director.counters().get("sweeps", 0) > before + 1, "the sweep stands still")

    def sweep(self, times: int) -> None:
        """Go through the whole table on this CPU."""
        assert self._programs["sweep_now"].test_run(bytes(64), repeat=times).retval == 0

    def together(self, *works: Callable[[], Any]) -> None:
        """Do each of *works* on a CPU of its own, at once."""
        failed: list[BaseException] = []

        def pinned(cpu: int, work: Callable[[], Any]) -> None:
            os.sched_setaffinity(0, {cpu})
            try:
                work()
            except BaseException as error:  # is raised below, in the thread that waits
                failed.append(error)

        threads = [threading.Thread(target=pinned, args=pair) for pair in zip(self.cpus, works, strict=False)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]

    def _batch(self, at_once: threading.Barrier, family: int, packets: int) -> None:
        ctx = struct.pack("<6I", 0, LENGTH[family], 0, socket.if_nametoindex("outside"), 0, 0)
        at_once.wait()
        run = self._programs["stress_xdp"].test_run(bytes(LENGTH[family]), ctx=ctx, repeat=packets)
        assert run.retval in (1, 2, 4), run.retval
        assert self._programs["stress_end"].test_run(run.data, ctx=ctx).retval == 2

    def _put_on(self, cpus: list[int], value: Any) -> None:
        run = self.maps["run"]
        stored = np.zeros(1, run._stored)
        stored["cpu"]["value"][0] = run.get(0)
        stored["cpu"]["value"][0][cpus] = value
        run.write(0, stored)

    def tally(self) -> dict[str, int]:
        """Return what the packets met, by name."""
        total, each = self.maps["tally"].total(0), self.maps["tally"].get(0)
        return {name: int(total[name]) for name in total.dtype.names} | {
            "last": [hex(n) for n in each["last"].tolist()]
        }

    def faults(self) -> list[str]:
        """Return what is wrong: in the table, with packets, or with the servers' counters."""
        tally, found = self.tally(), faults(self.maps)
        for name in ("wrong_server", "wrong_address", "wrong_client", "strange"):
            if tally[name]:
                found.append(f"{tally[name]} packets: {name}; the last: {tally['last']}")
        return found + self._miscounted_packets()

    def _miscounted_packets(self) -> list[str]:
        sent, stats, servers = self.maps["sent"].read(), self.maps["server_stats"].read(), self.maps["servers"].read()
        found = []
        for number in np.flatnonzero(servers["life"] & abi.LIFE_LIVE).tolist():
            row = servers[number]
            virt, address = Address(bytes(row["virt"])), bytes(row["addr"])
            place = ((virt.version == 6) * 2 + (row["proto"] == 17)) * SERVICES + int(row["vport"]) - 80
            mine = sent[place * SERVERS + address[15] - 1]
            for ours, theirs in (("in_pkts", "in_pkts"), ("out_pkts", "out_pkts")):
                if (have := stats[number][theirs].tolist()) != (want := mine[ours].tolist()):
                    found.append(f"server {number} counts {theirs} {have} by CPU, there were {want}")
        return found
