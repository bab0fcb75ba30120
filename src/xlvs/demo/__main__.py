"""`./dev demo`: real requests through a virtual address, balanced by xlvs, on a network made for the purpose.

Makes a client, a director and three real servers in network namespaces, runs
the daemon and the commands an operator would type, sends requests, reports,
and takes everything away again: at the end, on Ctrl-C and after a failure.
Exits with 0 if every request was answered.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from xlvs.demo.stage import Settings, Stage
from xlvs.errors import XlvsError

REQUESTS = 3000


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; argparse ends the process if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="./dev demo",
        description="Balance real traffic over three real servers, all in network namespaces, and show what happened.",
    )
    parser.add_argument("--forward", choices=("nat", "route", "ipip"), default="nat", help="forwarding method")
    parser.add_argument("--family", type=int, choices=(4, 6), default=4, help="IPv4 or IPv6")
    parser.add_argument("--scheduler", default="rr", metavar="NAME", help="which server is next")
    parser.add_argument("--protocol", choices=("tcp", "udp"), default="tcp", help="HTTP, or numbered datagrams")
    parser.add_argument(
        "--hook", choices=("xdp", "tc", "auto"), default="auto", help="where the director's program runs"
    )
    parser.add_argument("--requests", type=_positive, default=REQUESTS, metavar="N", help="each a new flow")
    parser.add_argument("--keep", action="store_true", help="leave it standing, and say how to enter and to remove it")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the report")
    return parser.parse_args(argv)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; return the exit code."""
    options = parse(argv)
    if os.geteuid() != 0:
        print("demo: network namespaces and BPF need root: sudo ./dev demo", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    settings = Settings(
        options.forward, options.family, options.scheduler, options.protocol, options.hook, options.requests
    )
    try:
        with Stage(settings, keep=options.keep) as stage:
            outcome = stage.play()
            if options.json:
                print(json.dumps(outcome))
            else:
                print(stage.report(), flush=True)
            if options.keep:
                stage.leave_standing()
    except KeyboardInterrupt:
        print("demo: interrupted; everything was removed", file=sys.stderr)
        return 130
    except (XlvsError, OSError) as err:
        print(f"demo: {err}", file=sys.stderr)
        return 1
    return 1 if outcome["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
