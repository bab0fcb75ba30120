"""Time a packet spends in the director's programs, by BPF_PROG_TEST_RUN.

    ./dev bench program [--quick] [--flows 1,1k,64k,1M] [--rounds N] [--only WORD] [--json]

No driver, no wire: what is measured is the program alone, and bench/README.md says what that leaves out.  All cases
are set up first and then measured in turn, round by round, so that a disturbance of the machine hits all of them;
shown are medians, with the least and the greatest.  Judges nothing: a time is never right or wrong.
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
CASES = (
    *(Case("xdp", 4, kind) for kind in ("nat", "reply", "route", "ipip")),
    *(Case("xdp", 6, kind) for kind in ("nat", "reply", "route", "ipip")),
    *(Case("tc", 4, kind) for kind in ("nat", "reply", "route")),
    *(Case("tc", 6, kind) for kind in ("nat", "route")),
)
UNITS = collections.defaultdict(int, k=10, M=20)
"""Bits by which a number of flows is shifted."""

EVERYWHERE = ("xdp", 4)
"""Hook and family that are measured with every number of flows; the others with the second alone."""

PASSING = tuple(Case(hook, family, "pass") for hook in ("xdp", "tc") for family in (4, 6))
"""Packets of another service's address, which go to the host's stack."""

NAMES = {"nat": "nat", "reply": "nat, reply", "route": "route", "ipip": "ipip"}


@dataclass
class Row:
    """One figure: how to take it, and what was taken, in ns."""

    case: Case
    forward: str
    what: str
    flows: int
    take: Callable[[], int]
    ns: list[int] = field(default_factory=list)

    @property
    def median(self) -> int:
        """The middle one."""
        return round(statistics.median(self.ns))


@dataclass
class Cell:
    """The figures of one director."""

    wrapper: Row
    rows: list[Row]


def main() -> int:
    """Measure what the command line asks for."""
    options = parse()
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        wrapper = Path(scratch) / "program.bpf.o"
        build_bpf.compile_one(Path(__file__).with_suffix(".bpf.c"), wrapper)
        objects = [OBJECTS / "xdp.bpf.o", OBJECTS / "tc.bpf.o", wrapper]
        enter()
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        cells = []
        for case, flows in wanted(options.flows, options.only):
            say(f"setting up {case.wrapper} with {flows} flows")
            director = Director(objects, case, flows, batch=min(max(flows, 1 << 10), 1 << 14))
            stack.callback(director.close)
            cells.append(cell_of(director, options.quick))
        rows = [row for cell in cells for row in (cell.wrapper, *cell.rows)]
        # Nothing else runs on this CPU during a run: neither its time nor the caches it would leave behind.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        for number in range(options.rounds + 1):
            say(f"round {number} of {options.rounds}" if number else "warming up")
            for row in rows:
                ns = row.take()
                if number:
                    row.ns.append(ns)
    print(json.dumps(as_json(cells), indent=1) if options.json else as_table(cells))
    return 0


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
    """Return the numbers in *text*; raises `ArgumentTypeError` for one that is no power of two or beyond 2^21."""
    try:
        found = sorted({int(word.rstrip("kM")) << UNITS[word[-1:]] for word in text.split(",")})
    except ValueError:
        found = [0]
    if any(n < 1 or n > 1 << 21 or n & (n - 1) for n in found):
        raise argparse.ArgumentTypeError("give powers of two up to 2M, such as 1,1k,64k")
    return found


def wanted(flows: Sequence[int], only: str) -> Iterator[tuple[Case, int]]:
    """Yield what is to be set up."""
    common = flows[min(1, len(flows) - 1)]
    for case in (*CASES, *PASSING):
        everywhere = (case.hook, case.family) == EVERYWHERE and case.kind != "pass"
        for count in flows if everywhere else (common,):
            if only in case.wrapper:
                yield case, count


def cell_of(director: Director, quick: bool) -> Cell:
    """Return the figures to take of one director."""
    case, flows = director.case, director.flows
    repeat = max(flows, 1 << (16 if quick else 18))
    wrapper = Row(case, "", "wrapper", flows, lambda: director.wrapper(repeat))
    if case.kind != "pass":
        rows = [Row(case, NAMES[case.kind], "known", flows, lambda: director.known(repeat))]
        if case.kind != "reply":
            rows.append(Row(case, NAMES[case.kind], "new", flows, director.new))
        return Cell(wrapper, rows)
    rows = [Row(case, "not ours", "none", flows, lambda: director.known(repeat))]
    if case.hook == "xdp":
        route = f"fib{case.family}"
        rows.append(Row(case, "kernel", "hash", flows, lambda: director.wrapper(repeat, "hash")))
        rows.append(Row(case, "kernel", "route", flows, lambda: director.wrapper(repeat, route)))
    return Cell(wrapper, rows)


def as_table(cells: Sequence[Cell]) -> str:
    """Return the figures for people."""
    layout = "{:<5}{:<8}{:<12}{:<8}{:>8}{:>7}{:>7}{:>7}{:>9}{:>6}"
    names = ("hook", "family", "forward", "flow", "flows", "ns", "least", "most", "wrapper", "net")
    lines = [f"# {host()}", layout.format(*names)]
    for cell in cells:
        for row in cell.rows:
            what = (row.case.hook, f"IPv{row.case.family}", row.forward, row.what, row.flows)
            times = (row.median, min(row.ns), max(row.ns), cell.wrapper.median, row.median - cell.wrapper.median)
            lines.append(layout.format(*what, *times))
    return "\n".join(lines)


def as_json(cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the figures for programs."""
    rows = [
        {
            **{"hook": row.case.hook, "family": row.case.family, "forward": row.forward, "what": row.what},
            **{"flows": row.flows, "ns": row.median, "least": min(row.ns), "most": max(row.ns)},
            **{"wrapper": cell.wrapper.median, "net": row.median - cell.wrapper.median, "rounds": row.ns},
        }
        for cell in cells
        for row in cell.rows
    ]
    return {"host": host(), "rows": rows}


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
