"""What a packet costs in the director's programs, without a network: ns per packet, for a known flow and a new one.

Each case runs the real program by BPF_PROG_TEST_RUN over a table of that many flows, behind a wrapper
(program.bpf.c) that makes each run's output the packet of another flow.  Beside it runs the same program on a kernel
hash, and on an LRU hash, with the same flows, as other balancers keep them.  All tables of a case take turns, round by
round, so that a disturbance of the machine hits all of them.  Judges nothing: a time is never right or wrong.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from _director import Case, Director, enter  # noqa: E402

import build_bpf  # noqa: E402
from xlvs.dataplane import OBJECTS  # noqa: E402

SIZES = (1, 1 << 10, 1 << 16, 1 << 20)
UNITS = collections.defaultdict(int, k=10, M=20)
"""Bits by which a number of flows is shifted."""

COMPARED = tuple(Case("xdp", 4, kind) for kind in ("nat", "route", "ipip"))
"""Measured with every number of flows, beside a hash and an LRU hash; the others with the second number, alone."""

ALONE = (
    *(Case("xdp", 6, kind) for kind in ("nat", "route", "ipip")),
    *(Case("tc", 4, kind) for kind in ("nat", "route")),
    *(Case("tc", 6, kind) for kind in ("nat", "route")),
)
PASSING = tuple(Case(hook, family, "pass") for hook in ("xdp", "tc") for family in (4, 6))
"""Packets of another service's address, which go to the host's stack."""

TABLES = ("xlvs", "hash", "lru")
MOST_VISITED = 1 << 20
LINES = (1 << 14, 1 << 20, 1 << 23)
"""Lines of 64 bytes that are walked along: 1, 64 and 512 MiB."""


@dataclass
class Row:
    """Figures of one packet's way: how to take them, by table, and what was taken, in ns."""

    name: tuple[str, ...]
    flows: int
    take: dict[str, Callable[[], float]]
    ns: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, *, keep: bool) -> None:
        """Take each figure once."""
        for table, take in self.take.items():
            ns = take()
            if keep:
                self.ns.setdefault(table, []).append(ns)

    def median(self, table: str) -> float:
        """Return the middle figure."""
        return statistics.median(self.ns[table])

    def ratio(self, table: str) -> float:
        """Return how long the director's own table takes, as a share of *table*: the median over the rounds."""
        return statistics.median(own / other for own, other in zip(self.ns["xlvs"], self.ns[table], strict=True))


def main() -> int:
    """Measure what the command line asks for."""
    options = parse()
    rows: list[Row] = []
    choices: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        objects = compiled(Path(scratch))
        enter()
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        # Nothing else runs on this CPU during a run: neither its time nor the caches it would leave behind.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        for cases, flows in wanted(options.flows, options.only):
            rows += measured(objects, cases, flows, options)
    if options.only in "scheduling":
        choices = scheduling(options)
    if options.json:
        print(json.dumps({**as_json(rows), "scheduling": choices}, indent=1))
    else:
        print("\n".join([as_table(rows), *(f"{name + ':':<46}{value:>8.4g}" for name, value in choices.items())]))
    return 0


def scheduling(options: argparse.Namespace) -> dict[str, float]:
    """Return what a choice among many servers costs by itself, and what it does to new flows."""
    import newflows
    import schedule

    say("setting up choices")
    found = {
        f"wlc, {weights}, {count} servers, ns per choice": ns
        for weights, by_count in schedule.choices_of("wlc", options.rounds).items()
        for count, ns in by_count.items()
    }
    rates = newflows.rates((("rr", "equal", 100), ("wlc", "equal", 100), ("wlc", "1 to 7", 100)), 3 * options.rounds)
    base = next(iter(rates.values()))
    for name, rate in rates.items():
        found[f"{name}, k new flows/s"] = statistics.median(rate)
        found[f"{name}, /rr"] = statistics.median(own / other for own, other in zip(rate, base, strict=True))
    return found


def compiled(scratch: Path) -> dict[str, list[Path]]:
    """Compile the wrapper, and the program on the tables it is compared with; return the objects by table."""
    source = ROOT / "bpf" / "xdp.bpf.c"
    wrapper = scratch / "program.bpf.o"
    build_bpf.compile_one(Path(__file__).with_suffix(".bpf.c"), wrapper)
    found = {"xlvs": [OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o", wrapper]}
    for table in TABLES[1:]:
        target = scratch / f"{table}.bpf.o"
        options = ['-DXLVS_TABLE="hash_table.h"', f"-DLRU={int(table == 'lru')}", "-I", str(Path(__file__).parent)]
        build_bpf.compile_one(source, target, *options, "-Wno-unused-function")
        found[table] = [target, wrapper]
    return found


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="./dev bench program", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flows", type=sizes, default=SIZES, metavar="N,...", help="flows in the table: powers of two")
    parser.add_argument("--rounds", type=int, metavar="N", help="measurements of each figure (7; --quick: 3)")
    parser.add_argument("--quick", action="store_true", help="shorter runs, and no more than 65536 flows")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="only cases with WORD in their name, such as xdp_nat4"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 7)
    if options.quick:
        options.flows = [flows for flows in options.flows if flows <= 1 << 16]
    return options


def sizes(text: str) -> list[int]:
    """Return the numbers in *text*; raises `ArgumentTypeError` for one that is no power of two or beyond 2^23."""
    try:
        found = sorted({int(word.rstrip("kM")) << UNITS[word[-1:]] for word in text.split(",")})
    except ValueError:
        found = [0]
    if any(n < 1 or n > 1 << 23 or n & (n - 1) for n in found):
        raise argparse.ArgumentTypeError("give powers of two up to 8M, such as 1,1k,64k")
    return found


def wanted(flows: Sequence[int], only: str) -> Iterator[tuple[list[Case], int]]:
    """Yield what is to be measured at once: the same case on several tables, or on one."""
    common = flows[min(1, len(flows) - 1)]
    for case in COMPARED:
        for count in flows:
            if only in case.wrapper:
                yield [Case(case.hook, case.family, case.kind, table) for table in TABLES], count
    for case in (*ALONE, *PASSING):
        if only in case.wrapper:
            yield [case], common


def measured(
    objects: dict[str, list[Path]], cases: Sequence[Case], flows: int, options: argparse.Namespace
) -> list[Row]:
    """Return the figures of some cases, taken in turns."""
    say(f"setting up {cases[0].wrapper} with {flows} flows")
    with contextlib.ExitStack() as stack:
        directors = {}
        for case in cases:
            director = Director(objects[case.table], case, flows, batch=min(max(flows, 1 << 10), 1 << 14))
            stack.callback(director.close)
            directors[case.table] = director
        # Of very many flows a part is visited, far larger than any cache: a round must not outlast a moment's memory.
        rows = list(rows_of(cases[0], directors, min(max(flows, 1 << (16 if options.quick else 18)), MOST_VISITED)))
        for number in range(options.rounds + 1):
            for row in rows:
                row.measure(keep=number > 0)
    return rows


def rows_of(case: Case, directors: dict[str, Director], repeat: int) -> Iterator[Row]:
    """Yield the figures to take of one case."""
    flows = next(iter(directors.values())).flows
    name = (case.hook, f"IPv{case.family}", case.kind)

    def row(what: str, take: Callable[[Director], float]) -> Row:
        return Row((*name, what), flows, {table: lambda d=d: take(d) for table, d in directors.items()})  # type: ignore[misc]

    yield row("wrapper", lambda d: d.wrapper(repeat))
    if case.kind == "pass":
        yield row("not ours", lambda d: d.known(repeat))
        if case.hook == "xdp":
            yield row("kernel hash", lambda d: d.wrapper(repeat, "hash"))
            yield row("kernel route", lambda d: d.wrapper(repeat, f"fib{case.family}"))
        if (case.hook, case.family) == ("xdp", 4):
            for lines in LINES:
                yield row(f"miss, {lines >> 14} MiB", lambda d, lines=lines: d.chase(lines))  # type: ignore[misc]
        return
    yield row("known", lambda d: d.known(repeat))
    if case.kind == "nat":
        yield row("reply", lambda d: d.known(repeat, reply=True))
    if len(directors) > 1:
        yield row("work", lambda d: d.wrapper(repeat, work=True))
        yield row("known+work", lambda d: d.known(repeat, work=True))
        if case.kind == "nat":
            yield row("reply+work", lambda d: d.known(repeat, reply=True, work=True))
    yield row("new", lambda d: d.new())


def as_table(rows: Sequence[Row]) -> str:
    """Return the figures for people."""
    layout = "{:<5}{:<8}{:<9}{:<13}{:>8}{:>7}{:>7}{:>7}{:>7}{:>7}{:>7}{:>6}"
    names = ("hook", "family", "forward", "packet", "flows", "ns", "least", "most", "hash", "lru", "/hash", "/lru")
    lines = [f"# {host()}", layout.format(*names)]
    for row in rows:
        own = row.ns["xlvs"]
        times = [f"{row.median('xlvs'):.0f}", f"{min(own):.0f}", f"{max(own):.0f}"]
        for text, value in (("{:.0f}", row.median), ("{:.2f}", row.ratio)):
            times += [text.format(value(table)) if table in row.ns else "" for table in TABLES[1:]]
        lines.append(layout.format(*row.name, row.flows, *times).rstrip())
    return "\n".join(lines)


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures for programs."""
    names = ("hook", "family", "forward", "packet")
    return {
        "host": host(),
        "rows": [{**dict(zip(names, row.name, strict=True)), "flows": row.flows, "ns": row.ns} for row in rows],
    }


def host() -> str:
    """Return what the figures depend on: kernel and processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"Linux {platform.release()}, {model}, {os.cpu_count()} CPUs"


def say(message: str) -> None:
    """Show progress on stderr: stdout holds the figures alone."""
    print(f"bench: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
