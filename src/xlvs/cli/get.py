"""``xlvs get``: what the director does, as tables or as JSON.  Warnings go to stderr.  Asks, never changes."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from xlvs.cli.client import DEFAULT_INSTANCE, Client, socket_path
from xlvs.errors import XlvsError

Table = tuple[Sequence[str], Iterable[Sequence[object]]]


def main(argv: list[str]) -> int:
    """Run ``xlvs get``; return the exit code."""
    parser = argparse.ArgumentParser(prog="xlvs get", description="Show what the director does.")
    parser.add_argument("what", choices=list(VIEWS))
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--instance", default=os.environ.get("XLVS_INSTANCE") or DEFAULT_INSTANCE, metavar="NAME")
    options = parser.parse_args(argv)
    op, view = VIEWS[options.what]
    try:
        with Client(socket_path(options.instance)) as client:
            result = client.call(op)
            warnings = client.call("status")["warnings"]
    except XlvsError as err:
        print(f"xlvs: {err}", file=sys.stderr)
        return err.exit_code
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(json.dumps(result, indent=2) if options.output == "json" else aligned(*view(result)))
    return 0


def aligned(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with its columns aligned; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    numeric = [bool(cells) and all(row[i].isdigit() for row in cells) for i in range(len(header))]
    widths = [max(len(row[i]) for row in [list(header), *cells]) for i in range(len(header))]
    lines = []
    for row in [list(header), *cells]:
        padded = (c.rjust(n) if right else c.ljust(n) for c, n, right in zip(row, widths, numeric, strict=True))
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def endpoint(address: str, port: int) -> str:
    """Return address and port as operators write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _name(thing: dict[str, Any]) -> str:
    return endpoint(thing["address"], thing["port"])


def _services(listing: dict[str, Any]) -> Table:
    header = ("PROTOCOL", "SERVICE", "SCHEDULER", "SERVERS", "CONNS", "IN-BYTES", "OUT-BYTES", "CONNS/S")
    rows = []
    for s in listing["services"]:
        stats = s["stats"]
        counts = (len(s["servers"]), stats["conns"], stats["in_bytes"], stats["out_bytes"], s["rates"]["conns"])
        rows.append((s["protocol"], _name(s), s["scheduler"], *counts))
    return header, rows


def _servers(listing: dict[str, Any]) -> Table:
    header = ("PROTOCOL", "SERVICE", "SERVER", "FORWARD", "WEIGHT", "ACTIVE", "INACTIVE", "CONNS", "CONNS/S")
    rows = [
        (
            *(service["protocol"], _name(service), _name(s), s["forward"], s["weight"]),
            *(s["active"], s["inactive"], s["stats"]["conns"], s["rates"]["conns"]),
        )
        for service in listing["services"]
        for s in service["servers"]
    ]
    return header, rows


def _flows(flows: list[dict[str, Any]]) -> Table:
    header = ("PROTOCOL", "STATE", "EXPIRES", "CLIENT", "VIRTUAL", "SERVER", "IN-PKTS", "OUT-PKTS")
    rows = [
        (
            *(f["protocol"], f["state"], f["expires_s"]),
            *(endpoint(*f[end]) for end in ("client", "virtual", "server")),
            *f["packets"],
        )
        for f in flows
    ]
    return header, rows


def _drops(reasons: dict[str, int]) -> Table:
    return ("REASON", "PACKETS"), list(reasons.items())


def _interfaces(interfaces: list[dict[str, Any]]) -> Table:
    return ("INTERFACE", "HOOK", "WHY"), [(i["name"], i["hook"], i["why"]) for i in interfaces]


def _status(status: dict[str, Any]) -> Table:
    return ("ITEM", "VALUE"), [(name, value) for name, value in status.items() if name != "warnings"]


VIEWS: dict[str, tuple[str, Callable[[Any], Table]]] = {
    "services": ("list", _services),
    "servers": ("list", _servers),
    "flows": ("flows", _flows),
    "drops": ("drops", _drops),
    "interfaces": ("interfaces", _interfaces),
    "status": ("status", _status),
}
"""What can be shown: the request, and how its result becomes a table."""
