"""What the expiry of flows costs in the kernel: a whole sweep of the table, beside the same of a kernel hash map.

    ./dev bench sweep [--flows 8M] [--rounds N] [--json]

With no flow, with so many that go on, and with so many of which half are idle for too long.  The timer does a
fortieth of it every 50 ms, so a whole sweep is paid every two seconds.  Judges nothing: a time is never right or wrong.
"""

from __future__ import annotations

import argparse
import json
import mmap
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from _director import put_loads  # noqa: E402
from _figures import Row, as_json  # noqa: E402
from program import host, say, sizes  # noqa: E402

import build_bpf  # noqa: E402
from xlvs.daemon.kernel import Kernel  # noqa: E402
from xlvs.dataplane import Loader  # noqa: E402
from xlvs.dataplane import _abi as abi  # noqa: E402
from xlvs.dataplane.flows import table_sizes  # noqa: E402

SERVERS = 64
OLD = 1 << 27
"""Jiffies: idle for longer than any state allows."""

CASES = {"no flows": (0.0, 0.0), "all go on": (1.0, 0.0), "half expire": (1.0, 0.5)}
"""Share of the flows that are there, and of those that are idle for too long."""


class Swept:
    """Two tables with the same flows."""

    def __init__(self, program: Path, flows: int) -> None:
        large, small = table_sizes(flows), table_sizes(16)
        stripes = large["flow_stripes"] // 2 + small["flow_stripes"] // 2
        loaded = Loader(
            [program], sizes={**large, "flows6": small["flows6"], "flow_stripes": stripes, "hash_flows": flows}
        ).load()
        self._maps, self._programs, self._flows = loaded.maps, loaded.programs, flows
        Kernel(self._maps).begin_table()
        self._slots = np.sort(np.random.default_rng(1).choice(2 * flows, flows, replace=False))

    def sweep(self, case: str) -> float:
        """Return the ms of a sweep of our table."""
        share, idle = CASES[case]
        count = int(self._flows * share)
        with _writable(self._maps["flows4"]) as memory, _writable(self._maps["flow_stripes"]) as marks:
            slots = np.frombuffer(memory, abi.FLOW, 2 * self._flows)
            slots["life"] = 0
            records = self._records(count, idle)
            slots[self._slots[:count]] = records
            stripes = np.frombuffer(marks, abi.STRIPE, self._maps["flow_stripes"].max_entries)
            stripes["used"] = int(count > 0)
            del slots, stripes
        return self._run("sweep_now", records, idle)

    def sweep_hash(self, case: str) -> float:
        """Return the ms of one of the hash."""
        share, idle = CASES[case]
        records = self._records(int(self._flows * share), idle)
        table = self._maps["hash_flows"]
        keys = np.zeros(len(records), table.key_dtype)
        keys["ends"], keys["rest"] = np.arange(len(records)), 6
        table.write_at(keys, records)
        return self._run("sweep_hash", records, idle)

    def _records(self, count: int, idle: float) -> Any:
        now = self._now()
        records = np.zeros(count, abi.FLOW)
        numbers = np.arange(count, dtype=np.uint32)
        records["client"] = numbers
        established = abi.FlowState.ESTABLISHED ^ abi.FLOW_FREE
        records["life"] = numbers % SERVERS << np.uint32(abi.FLOW_SERVER_SHIFT) | np.uint32(established)
        records["seen"] = np.where(numbers % 1000 < 1000 * idle, now - OLD & 0xFFFFFFFF, now)
        loads = np.zeros(SERVERS, abi.LOAD)
        loads["active"] = np.bincount(numbers % SERVERS, minlength=SERVERS)
        put_loads(self._maps, loads)
        return records

    def _now(self) -> int:
        self._programs["tell_now"].test_run(bytes(64))
        return int(self._maps["now"].get(0)) & 0xFFFFFFFF

    def _run(self, program: str, records: Any, idle: float) -> float:
        run = self._programs[program].test_run(bytes(64))
        left = int(self._maps["loads"].read(0, SERVERS)["active"].sum())
        gone = int((np.arange(len(records)) % 1000 < 1000 * idle).sum())
        if left != len(records) - gone:
            raise RuntimeError(f"{left} flows are left instead of {len(records) - gone}")
        return run.duration_ns / 1e6


def _writable(table: Any) -> mmap.mmap:
    size = table.max_entries * table.value_dtype.itemsize
    return mmap.mmap(table.fd, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)


def main() -> int:
    """Measure what the command line asks for."""
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "sweep.bpf.o"
        build_bpf.compile_one(Path(__file__).with_suffix(".bpf.c"), program)
        swept = Swept(program, options.flows)
    takes: dict[str, Callable[[str], float]] = {"xlvs": swept.sweep, "hash": swept.sweep_hash}
    rows = {case: Row(case) for case in CASES}
    for number in range(options.rounds):
        say(f"round {number + 1} of {options.rounds}")
        for case, row in rows.items():
            row.add({table: take(case) for table, take in takes.items()})
    figures = list(rows.values())
    print(json.dumps({"host": host(), "rows": as_json(figures, ())}, indent=1) if options.json else as_table(figures))
    return 0


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="./dev bench sweep", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flows", type=lambda text: sizes(text)[0], default=1 << 23, metavar="N", help="such as 8M")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="measurements of each figure (3)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    return parser.parse_args()


def as_table(rows: list[Row]) -> str:
    """Return the figures for people."""
    lines = [f"# {host()}", f"{'':<14}{'ms':>8}{'% of a CPU':>12}{'hash ms':>10}{'/hash':>8}"]
    for row in rows:
        ms, other = row.median("xlvs"), row.median("hash")
        ratio = Row("", {"": [own / peer for own, peer in zip(row.rounds["xlvs"], row.rounds["hash"], strict=True)]})
        lines.append(f"{row.name:<14}{ms:>8.1f}{ms / 20:>12.2f}{other:>10.1f}{ratio.median(''):>8.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
