"""The director under real sockets, side by side with plain routing, nftables, HAProxy, nginx and Envoy.

    ./dev bench forward [--rounds N] [--seconds N] [--only WORD] [--quick] [--json]
    ./dev bench forward --small [--flows N] ...

Every way stands on a network of its own, and all take turns in each round, figure by figure, so that a disturbance
of the machine hits all of them; shown are medians, and medians of the ratios within a round.  With --small it is
single small frames that are sent, as a network card would deliver them (_small.py).  Judges nothing.
bench/README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import _load
import _small
from _figures import Column, Row, as_json, table
from _net import Net
from _ways import NFTABLES, PLAIN, WAYS, MissingError, Way

from xlvs.errors import XlvsError

BASES = (PLAIN.name, NFTABLES.name)
LABELS = {PLAIN.name: "plain", NFTABLES.name: "nft"}

COLUMNS = (
    Column("keepalive", "k requests/s", 1000, bases=BASES),
    Column("close", "k connections/s", 1000, bases=BASES),
    Column("bulk", "bulk Gbit/s", bases=BASES),
    Column("keepalive cpu", "us/request", bases=BASES[:1]),
    Column("close cpu", "us/conn.", bases=BASES[:1]),
)

STEAL = 7
"""Where /proc/stat says what the hypervisor took away."""


@dataclass
class Stand:
    """One way, standing: what it measures goes to *row*."""

    way: Way
    row: Row
    net: Net
    forwarded: Callable[[], str] | None = None


def main() -> int:
    """Measure what the command line asks for."""
    options = parse()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    load, before = os.getloadavg()[0], cpu_ticks()
    try:
        rows, columns = _small.main(options, say) if options.small else forward(options)
    except KeyboardInterrupt:
        say("interrupted; everything was removed")
        return 130
    spent = [new - old for new, old in zip(cpu_ticks(), before, strict=True)]
    quiet = f"load average before: {load:.2f}, stolen time: {100 * spent[STEAL] / max(1, sum(spent)):.1f} %"
    head = f"{host()}; {quiet}; {options.rounds} rounds of {options.seconds:g} s"
    if options.json:
        print(json.dumps({"host": head, "rows": as_json(rows, BASES)}, indent=1))
    else:
        print(f"# {head}\n{table(rows, columns, LABELS)}")
    return 0


def forward(options: argparse.Namespace) -> tuple[list[Row], Sequence[Column]]:
    """Measure with real sockets."""
    tasks: tuple[Callable[[Stand], _load.Figures], ...] = (
        lambda stand: _load.ask(stand.net, stand.way, options.seconds),
        lambda stand: _load.ask(stand.net, stand.way, options.seconds, close=True),
        lambda stand: _load.send(stand.net, stand.way, options.seconds),
    )
    with contextlib.ExitStack() as stack:
        rows, stands = [], []
        for way in wanted(WAYS, options.only):
            rows.append(Row(way.name))
            stands += stand_up(way, rows[-1], stack)
        for number in range(options.rounds):
            say(f"round {number + 1} of {options.rounds}")
            for task in tasks:
                # Another one begins each time: whoever is first would always follow the same neighbour.
                for stand in stands[number % len(stands) :] + stands[: number % len(stands)]:
                    stand.row.add(task(stand))
        for stand in stands:
            _load.check_hook(stand.way, stand.forwarded)
    return rows, COLUMNS


def stand_up(way: Way, row: Row, stack: contextlib.ExitStack) -> list[Stand]:
    """Set *way* up until *stack* closes, and warm it up; return nothing, and tell *row* why, if it cannot be had."""
    say(f"setting up {way.name}")
    net = stack.enter_context(Net(straight=way.straight))
    try:
        _load.start_server(net)
        stand = Stand(way, row, net, way.set_up(net))
    except MissingError as error:
        row.why = f"none: {error}"
        return []
    _load.ask(net, way, 1)  # neighbours, first connections, caches
    return [stand]


def wanted(ways: Sequence[Way], only: str) -> list[Way]:
    """Return the ways with *only* in their name, and those that all are compared with."""
    return [way for way in ways if only.lower() in way.name.lower() or way.name in BASES]


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="./dev bench forward", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="send single small frames instead, like a network card")
    parser.add_argument("--flows", type=int, default=4096, metavar="N", help="flows of --small: a power of two")
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each way (11; --quick: 3)")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="N", help="length of one measurement")
    parser.add_argument("--only", default="", metavar="WORD", help="only ways with WORD in their name, and the bases")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 11)
    if options.flows < 1 or options.flows & (options.flows - 1):
        parser.error("--flows: give a power of two")
    return options


def host() -> str:
    """Return what the figures depend on: kernel and processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"Linux {platform.release()}, {model}, {os.cpu_count()} CPUs"


def cpu_ticks() -> list[int]:
    """Return the ticks that all CPUs spent in each state so far."""
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def interrupt(_signal: int, _frame: FrameType | None) -> None:
    """Unwind as Ctrl-C does."""
    raise KeyboardInterrupt


def say(message: str) -> None:
    """Show progress on stderr: stdout holds the figures alone."""
    print(f"bench: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except XlvsError as error:
        say(str(error))
        sys.exit(1)
