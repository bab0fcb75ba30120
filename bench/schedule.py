"""What the schedulers cost: ns for a choice in the kernel, and ms for a table of mh in the daemon.

    ./dev bench schedule [--quick] [--rounds N] [--only WORD] [--json]

The choices by BPF_PROG_TEST_RUN of a program that only chooses: no packet, no flow.  The services are planned and
written as the daemon does it.  The tables as CPU time of this process, beside the same in plain Python.  All cases
are set up first and then measured in turn, round by round; shown are medians, and the ratios of figures of the same
round.  Judges nothing: a time is never right or wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from _director import put_loads  # noqa: E402
from _figures import Row, as_json  # noqa: E402
from program import host, say  # noqa: E402

import build_bpf  # noqa: E402
from xlvs import sched  # noqa: E402
from xlvs.daemon.kernel import Kernel  # noqa: E402
from xlvs.dataplane import Loader  # noqa: E402
from xlvs.dataplane import _abi as abi  # noqa: E402
from xlvs.dataplane.flows import table_sizes  # noqa: E402
from xlvs.dataplane.maglev import Maglev  # noqa: E402
from xlvs.model import Address, Server, Service, ServiceKey  # noqa: E402
from xlvs.plan.planner import plan  # noqa: E402
from xlvs.sched import mh  # noqa: E402

SERVERS = (10, 100, 1000)
TABLES = ((10, 4093), (100, 4093), (1000, 4093), (1000, 65521))
CHOICES = 64
"""In one run: as in schedule.bpf.c."""

WEIGHTS: dict[str, Callable[[int], list[int]]] = {
    "equal": lambda count: [1] * count,
    "1 to 7": lambda count: [1 + i % 7 for i in range(count)],
    "one of 100": lambda count: [100] + [1] * (count - 1),
    "all but 2 of 0": lambda count: [1] + [0] * (count - 2) + [1],
}
"""The weights of so many servers, oldest first."""

CASES = (
    *(("rr", weights) for weights in ("equal", "all but 2 of 0")),
    *(("wrr", weights) for weights in ("equal", "1 to 7", "one of 100")),
    *((scheduler, "1 to 7") for scheduler in ("lc", "wlc", "sh", "mh")),
    ("wlc", "equal"),
    *((scheduler, "1 to 7") for scheduler in ("sed", "nq", "fo", "ovf", "twos", "dh", "lblc", "lblcr")),
)

SIZES = {
    **dict.fromkeys(("fragments", "interfaces"), 16),
    **table_sizes(16),
    **dict.fromkeys(("services", "service_stats", "sched_state", "tables"), 256),
    **dict.fromkeys(("servers", "loads", "server_stats", "addrs", "nat_servers"), 1 << 15),
    "overheads": (1 << 15) // abi.PAGE_SERVERS,
    "slots": 1 << 12,
}


class Chooser:
    """All services, in force in maps that no packet comes to."""

    def __init__(self, program: Path, maglev: Maglev) -> None:
        loaded = Loader([program], sizes=SIZES).load()
        self._maps, self._program = loaded.maps, loaded.programs["choose"]
        self.close = loaded.close
        kernel = Kernel(self._maps)
        self._wants = {(*case, count): service(*case, count) for case in CASES for count in SERVERS}
        made = plan(kernel.layout(), {one.key: one for one in self._wants.values()}, {}, 1, maglev.fill)
        for write in [*made.prepare, *made.commit(kernel.sched_state), *made.tidy]:
            kernel.write(write)
        self._placed = made.change.placed
        loads = np.zeros(self._maps["loads"].max_entries, abi.LOAD)
        chance = np.random.default_rng(1)
        loads["active"] = chance.integers(100, 200, len(loads))
        loads["inactive"] = chance.integers(0, 1000, len(loads))
        put_loads(self._maps, loads)

    def measure(self, scheduler: str, weights: str, count: int, runs: int) -> float:
        """Return ns per choice."""
        placed = self._placed[self._wants[scheduler, weights, count].key]
        assert placed
        value = np.zeros((), self._maps["question"].value_dtype)
        value["service"] = np.frombuffer(placed.value, abi.SERVICE)[0]
        self._maps["question"].put(0, value)
        run = self._program.test_run(bytes(64), repeat=runs)
        asked = int(self._maps["question"].get(0)["clients"])
        if asked != runs * CHOICES:
            raise RuntimeError(f"{scheduler}: {asked} choices instead of {runs * CHOICES}")
        return run.duration_ns / CHOICES


def service(scheduler: str, weights: str, count: int) -> Service:
    """Return a service with a key and servers of its own."""
    number = CASES.index((scheduler, weights))
    first = int.from_bytes(Address.parse(f"10.{number}.0.1"))
    key = ServiceKey("tcp", Address.parse(f"192.0.2.{number}"), count)
    servers = (
        Server(Address((first + (count << 4) + i).to_bytes(16)), 80, "nat", weight)
        for i, weight in enumerate(WEIGHTS[weights](count))
    )
    return Service(key, scheduler, servers=tuple(servers))


def choices_of(scheduler: str, rounds: int) -> dict[str, dict[int, float]]:
    """Return ns per choice, by weights and number of servers: the medians of so many rounds."""
    maglev = Maglev()
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "schedule.bpf.o"
        build_bpf.compile_one(Path(__file__).with_suffix(".bpf.c"), program)
        chooser = Chooser(program, maglev)
    rows = [Row("|".join(case)) for case in CASES if case[0] == scheduler]
    for number in range(rounds + 1):
        for row in rows:
            figures = {str(n): chooser.measure(*row.name.split("|"), n, 200) for n in SERVERS}
            row.add(figures if number else {})
    chooser.close()
    maglev.close()
    return {row.name.split("|")[1]: {n: row.median(str(n)) for n in SERVERS} for row in rows}


def entries(count: int) -> list[sched.Entry]:
    """Return the servers of a table."""
    first = int.from_bytes(Address.parse("10.0.0.1"))
    return [sched.Entry(i, Address((first + i).to_bytes(16)), 80, 1, 1) for i in range(count)]


def cpu_ms(act: Callable[[], object], times: int) -> float:
    """Return the CPU time of *act*, the mean of so many *times*."""
    began = time.process_time()
    for _ in range(times):
        act()
    return 1e3 * (time.process_time() - began) / times


def main() -> int:
    """Measure what the command line asks for."""
    options = parse()
    maglev = Maglev()
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "schedule.bpf.o"
        build_bpf.compile_one(Path(__file__).with_suffix(".bpf.c"), program)
        chooser = Chooser(program, maglev)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    choices = [Row("|".join(case)) for case in CASES if options.only in case[0]]
    tables = [Row(f"{count}|{size}") for count, size in TABLES if options.only in "mh"]
    for number in range(options.rounds + 1):
        say(f"round {number} of {options.rounds}" if number else "warming up")
        for row in choices:
            scheduler, weights = row.name.split("|")
            row.add({str(n): chooser.measure(scheduler, weights, n, options.runs) for n in SERVERS})
        for row in tables:
            count, size = map(int, row.name.split("|"))
            servers = entries(count)
            row.add(
                {
                    "kernel": cpu_ms(lambda: mh.table(servers, maglev.fill, size), 10),  # noqa: B023
                    "python": cpu_ms(lambda: mh.table(servers, mh.fill, size), 1),  # noqa: B023
                }
            )
        if not number:
            for row in (*choices, *tables):
                row.rounds.clear()
    chooser.close()
    maglev.close()
    print(json.dumps(report(choices, tables), indent=1) if options.json else as_table(choices, tables))
    return 0


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="./dev bench schedule", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, metavar="N", help="measurements of each figure (7; --quick: 3)")
    parser.add_argument("--quick", action="store_true", help="shorter runs")
    parser.add_argument("--only", default="", metavar="WORD", help="only schedulers with WORD in their name")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the tables")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.runs = 200 if options.quick else 2000
    return options


def as_table(choices: Sequence[Row], tables: Sequence[Row]) -> str:
    """Return the figures for people."""
    lines = [f"# {host()}"]
    if choices:
        heads = "".join(f"{n:>8}" for n in SERVERS)
        lines += ["ns per choice, by servers", f"{'':<11}{'weights':<16}{heads}{'1000/10':>10}"]
    for row in choices:
        scheduler, weights = row.name.split("|")
        figures = "".join(f"{row.median(str(n)):>8.0f}" for n in SERVERS)
        lines.append(f"{scheduler:<11}{weights:<16}{figures}{ratio(row, '1000', '10'):>10.1f}")
    if tables:
        lines += ["CPU ms for a table of mh", f"{'servers':<11}{'entries':<16}{'kernel':>8}{'python':>8}{'ratio':>10}"]
    for row in tables:
        count, size = row.name.split("|")
        figures = "".join(f"{row.median(name):>8.2f}" for name in ("kernel", "python"))
        lines.append(f"{count:<11}{size:<16}{figures}{ratio(row, 'kernel', 'python'):>10.3f}")
    return "\n".join(lines)


def ratio(row: Row, figure: str, base: str) -> float:
    """Return the median of the ratios of two figures of the same round."""
    pairs = zip(row.rounds[figure], row.rounds[base], strict=True)
    return Row("", {"": [own / other for own, other in pairs]}).median("")


def report(choices: Sequence[Row], tables: Sequence[Row]) -> dict[str, Any]:
    """Return the figures for programs."""
    return {"host": host(), "choices": as_json(choices, ()), "tables": as_json(tables, ())}


if __name__ == "__main__":
    sys.exit(main())
