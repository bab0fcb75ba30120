"""New flows per second and core, by the whole program: rr, wlc over 10, 100 and 1,000 servers, mh; one core and two.

    ./dev bench newflows [--quick] [--rounds N] [--json]

SYNs of nat, each of another client, by BPF_PROG_TEST_RUN behind the wrapper of program.bpf.c (its time is in the
figures).  With two cores each has clients of its own, and both enter flows into one table at once.  All cases take
turns, round by round; shown are medians, and the ratios of figures of the same round.  Judges nothing.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import _director as d  # noqa: E402
from _figures import Row, as_json  # noqa: E402
from program import host, say  # noqa: E402

import build_bpf  # noqa: E402
from xlvs.daemon.kernel import Kernel  # noqa: E402
from xlvs.dataplane import OBJECTS, Loader  # noqa: E402
from xlvs.dataplane import _abi as abi  # noqa: E402
from xlvs.dataplane.flows import table_sizes  # noqa: E402
from xlvs.model import Address, Server, Service, ServiceKey  # noqa: E402
from xlvs.plan.planner import plan  # noqa: E402

CASES = (
    *(("rr", "equal", 10), ("wlc", "equal", 10), ("wlc", "equal", 100), ("wlc", "1 to 7", 100)),
    *(("wlc", "equal", 1000), ("wlc", "1 to 7", 1000), ("mh", "equal", 100)),
)
WEIGHTS = {"equal": 1, "1 to 7": 7}
"""How many different weights the servers have in turn, beginning with 1."""
SYN = d.Case("xdp", 4, "nat")
APART = 1 << 21
"""Between the clients of two cores."""


class Opener:
    """A director with one service whose flows are opened, counted, and forgotten."""

    def __init__(self, objects: Sequence[Path], scheduler: str, weights: str, servers: int, flows: int) -> None:
        sizes = {**table_sizes(4 * flows), "slots": 256}
        loaded = Loader(objects, sizes=sizes).load(programs={"xdp_nat4", "xlvs_xdp", "xdp_nothing"})
        self._maps, self._programs, self.close = loaded.maps, loaded.programs, loaded.close
        self._flows, self._servers = flows, servers
        kernel = Kernel(self._maps)
        kernel.begin_table()
        first = int.from_bytes(Address.parse(d.FAMILIES[4].server))
        real = [
            Server(Address((first + i).to_bytes(16)), d.PORT, "nat", 1 + i % WEIGHTS[weights]) for i in range(servers)
        ]
        key = ServiceKey("tcp", Address.parse(d.FAMILIES[4].virt), d.VPORT)
        sources = {one.address: Address.parse(d.FAMILIES[4].source) for one in real}
        made = plan(kernel.layout(), {key: Service(key, scheduler, servers=tuple(real))}, sources, 1)
        for write in [*made.prepare, *made.commit(kernel.sched_state), *made.tidy]:
            kernel.write(write)
        for name, mac in (("front", d.FRONT_MAC), ("back", d.BACK_MAC)):
            kernel.put_interface(socket.if_nametoindex(name), bytes.fromhex(mac), abi.IF_XMIT)

    def measure(self, cores: int) -> float:
        """Open the flows, on this many cores at once; return thousands per second and core."""
        family, bits = d.FAMILIES[4], self._flows.bit_length() - 1
        fields = {
            **{"mask": self._flows - 1, "mul": 0x9E3779B1, "shift": bits // 2, "vport": d.VPORT, "apart": APART},
            **{name: int.from_bytes(Address.parse(getattr(family, name))[-4:]) for name in ("client", "virt")},
            "mac": np.frombuffer(bytes.fromhex(d.FRONT_MAC), "<u2"),
        }
        value = np.zeros((), self._maps["bench"].value_dtype)
        for name, field in fields.items():
            value[name] = field
        self._maps["bench"].put(0, value)
        self._maps["xdp_measured"].put(0, self._programs["xlvs_xdp"].fd)
        took = [0] * cores
        threads = [threading.Thread(target=self._open, args=(cpu, took)) for cpu in range(cores)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        opened = int(self._maps["loads"].read(0, self._servers)["active"].sum())
        self._forget()
        if opened != cores * self._flows:
            raise RuntimeError(f"{opened} flows opened instead of {cores * self._flows}")
        return 1e6 * cores / sum(took)

    def _open(self, cpu: int, took: list[int]) -> None:
        os.sched_setaffinity(0, {cpu})
        data = d.packet(SYN, d.SYN)
        run = self._programs["xdp_nat4"].test_run(data, ctx=d.context(SYN, len(data)), repeat=self._flows)
        took[cpu] = run.duration_ns

    def _forget(self) -> None:
        for name in ("flows4", "flow_stripes"):
            table = self._maps[name]
            size = table.max_entries * table.value_dtype.itemsize
            with mmap.mmap(table.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE) as memory:
                np.frombuffer(memory, np.uint8)[:] = 0
        self._maps["flow_spill"].clear()
        d.put_loads(self._maps, np.zeros(self._servers, abi.LOAD))

    def bytes_per_flow(self) -> float:
        """Return what the kernel accounts to the maps of the IPv4 table, for each flow it is made for."""
        names = ("flows4", "flow_stripes", "flow_spill")
        return sum(memlock(self._maps[name].fd) for name in names) / (4 * self._flows)


def memlock(fd: int) -> int:
    """Return how many bytes the kernel accounts to a map."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("memlock"))


def main() -> int:
    """Measure what the command line asks for."""
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        wrapper = Path(scratch) / "program.bpf.o"
        build_bpf.compile_one(Path(__file__).with_name("program.bpf.c"), wrapper)
        d.enter(max(servers for _, _, servers in CASES))
        objects = [OBJECTS / "xdp.bpf.o", wrapper]
        openers = {case: Opener(objects, *case, options.flows) for case in CASES}
    rows = {case: Row("|".join(map(str, case))) for case in CASES}
    for number in range(options.rounds + 1):
        say(f"round {number} of {options.rounds}" if number else "warming up")
        for case, opener in openers.items():
            rows[case].add({"one": opener.measure(1), "two": opener.measure(2)})
        if not number:
            for row in rows.values():
                row.rounds.clear()
    memory = next(iter(openers.values())).bytes_per_flow()
    print(json.dumps(report(rows, memory), indent=1) if options.json else as_table(rows, memory))
    return 0


def rates(cases: Sequence[tuple[str, str, int]], rounds: int) -> dict[str, list[float]]:
    """Return thousands of new flows per second on one core, by case: a figure for each round."""
    with tempfile.TemporaryDirectory() as scratch:
        wrapper = Path(scratch) / "program.bpf.o"
        build_bpf.compile_one(Path(__file__).with_name("program.bpf.c"), wrapper)
        d.enter(max(servers for _, _, servers in cases))
        objects = [OBJECTS / "xdp.bpf.o", wrapper]
        openers = {case: Opener(objects, *case, 1 << 14) for case in cases}
    found: dict[str, list[float]] = {f"{name}, {weights}, {count} servers": [] for name, weights, count in cases}
    for number in range(rounds + 1):
        for (name, weights, count), opener in openers.items():
            rate = opener.measure(1)
            if number:
                found[f"{name}, {weights}, {count} servers"].append(rate)
    for opener in openers.values():
        opener.close()
    return found


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="./dev bench newflows", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, metavar="N", help="measurements of each figure (7; --quick: 3)")
    parser.add_argument("--quick", action="store_true", help="fewer flows")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.flows = 1 << (14 if options.quick else 17)
    return options


def as_table(rows: dict[tuple[str, str, int], Row], memory: float) -> str:
    """Return the figures for people."""
    base = rows[CASES[0]]
    head = (
        f"{'scheduler':<11}{'weights':<9}{'servers':>8}{'k flows/s':>11}{'/rr':>7}{'two at once, each':>19}{'/one':>7}"
    )
    lines = [f"# {host()}", head]
    for (scheduler, weights, servers), row in rows.items():
        each = Row("", {"": [two / one for two, one in zip(row.rounds["two"], row.rounds["one"], strict=True)]})
        lines.append(
            f"{scheduler:<11}{weights:<9}{servers:>8}{row.median('one'):>11.0f}{row.ratio('one', base) or 0:>7.2f}"
            f"{row.median('two'):>19.0f}{each.median(''):>7.2f}"
        )
    lines.append(f"bytes per IPv4 flow at half load, with spill and stripes: {memory:.1f}")
    return "\n".join(lines)


def report(rows: dict[tuple[str, str, int], Row], memory: float) -> dict[str, Any]:
    """Return the figures for programs."""
    return {"host": host(), "bytes_per_flow": memory, "rows": as_json(list(rows.values()), ())}


if __name__ == "__main__":
    sys.exit(main())
