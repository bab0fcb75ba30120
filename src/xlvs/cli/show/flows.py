"""``xlvs get flows``: millions of flows printed as they come, in the memory of a few thousand; or how many there are.

Columns are as wide as the first rows need; a later row that needs more is printed as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from xlvs.cli.client import Client
from xlvs.cli.show import output
from xlvs.cli.show.output import Row, endpoint
from xlvs.cli.show.views import VIEWS

_PATH = VIEWS["flows"].path
_FILTERS = ("server", "service", "client", "state", "protocol", "older_than", "sort", "limit", "by")
_FIELDS = ("protocol", "state", "expires_s", "client", "virtual", "server", "in_bytes", "out_bytes", "idle_s")
"""What the daemon calls the table's columns."""

_NUMERIC = ("expires_s", "in_bytes", "out_bytes", "idle_s")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is only for flows."""
    group = parser.add_argument_group("flows")
    several = {"action": "append"}
    group.add_argument("--server", **several, metavar="ADDRESS[:PORT]", help="of these real servers")  # type: ignore[arg-type]
    group.add_argument("--service", metavar="SERVICE", help="of this service: its name or id")
    group.add_argument("--client", metavar="ADDRESS[/BITS]", help="of this client, or of all of a prefix")
    group.add_argument("--state", **several, metavar="STATE", help="in these states, as established,syn_recv")  # type: ignore[arg-type]
    group.add_argument("--protocol", choices=("tcp", "udp", "sctp"))
    group.add_argument("--older-than", metavar="TIME", help="without a packet for this long: 30s, 5m, 2h, 1d")
    group.add_argument("--sort", choices=("bytes",), help="those with most bytes first")
    group.add_argument("--limit", type=int, metavar="N", help="so many at most")
    group.add_argument("--count", action="store_true", help="only how many: by state, idle time and server")
    group.add_argument("--by", metavar="client[/BITS]", help="with --count: also by prefix of clients, as client/24")


def check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse options that are not for what is shown."""
    given = [name for name in _FILTERS if getattr(options, name) is not None] + ["count"] * options.count
    if given and options.what != "flows":
        parser.error(f"--{given[0].replace('_', '-')} is for flows")
    if options.count and options.watch:
        parser.error("--count is not watched; repeat it, as watch(1) does")
    if options.count and options.sort:
        parser.error("--sort is for a list, not for --count")
    if options.by and not options.count:
        parser.error("--by goes with --count")


def query(options: argparse.Namespace) -> dict[str, object]:
    """Return what the daemon is asked for."""
    given = {name: getattr(options, name) for name in _FILTERS}
    return {
        name: ",".join(value) if isinstance(value, list) else value
        for name, value in given.items()
        if value is not None
    }


def run(client: Client, options: argparse.Namespace) -> int:
    """Print what *options* ask for."""
    if options.count:
        answer = client.get(f"{_PATH}/count", query(options))
        _warn(client)
        print(_counts(answer, options.output))
        return 0
    lists = {"json": _json, "yaml": _yaml}.get(options.output)
    if lists is not None:
        pieces = lists(client.blocks(_PATH, query(options), "application/json"))
    else:
        header = VIEWS["flows"].header(wide=options.output == "wide")
        fields = _FIELDS[: len(header)]
        pieces = _table(client.blocks(_PATH, {**query(options), "fields": ",".join(fields)}), header, fields)
    _warn(client)
    for piece in pieces:
        sys.stdout.write(piece)
    return 0


def _warn(client: Client) -> None:
    for warning in client.get("/v1/status")["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)


def _json(blocks: Iterable[bytes]) -> Iterator[str]:
    return (block.decode() for block in blocks)


def _yaml(blocks: Iterable[bytes]) -> Iterator[str]:
    """Yield the daemon's lines, an object each, as a YAML list of flow mappings."""
    for number, block in enumerate(blocks):
        lines = (b"\n" + block).replace(b"},\n", b"}\n").replace(b"\n{", b"\n- {")[1:].decode()
        lines = lines.removeprefix("[\n") if number == 0 else lines
        yield lines.removesuffix("]\n") if lines != "[]\n" else lines


def _table(blocks: Iterator[bytes], header: Sequence[str], fields: Sequence[str]) -> Iterator[str]:
    """Yield the rows of the table, aligned, below its *header*; *blocks* are the daemon's CSV of these *fields*."""
    first = next(blocks)
    cells = _cells(first[first.index(b"\n") + 1 :] or next(blocks, b""))
    if not cells:
        yield "  ".join(header) + "\n"
        return
    columns = range(len(fields))
    widths = [max(len(header[i]), *map(len, cells[i :: len(fields)])) for i in columns]
    signs = ["" if field in _NUMERIC else "-" for field in fields]
    row = "  ".join(f"%{signs[i]}{widths[i]}b" for i in columns).encode() + b"\n"
    yield (row % tuple(title.encode() for title in header)).decode()
    while cells:
        # One format for all rows of a block: a step of Python for each row would take twice as long.
        yield (row * (len(cells) // len(fields)) % tuple(cells)).decode()
        cells = _cells(next(blocks, b""))


def _cells(block: bytes) -> list[bytes]:
    """Return all cells of the CSV lines of a *block*, one after another."""
    return block.replace(b"\n", b",").split(b",")[:-1]


def _counts(answer: Any, style: str) -> str:
    if style == "json":
        return json.dumps(answer, indent=2)
    if style == "yaml":
        import yaml

        return str(yaml.dump(answer, Dumper=yaml.CSafeDumper, sort_keys=False)).rstrip()
    parts = [output.facts([("Flows", answer["flows"])])]
    if answer["flows"]:
        parts.append(output.aligned(("STATE", "FLOWS"), list(answer["states"].items())))
        ages = [(_age(age["from_s"], age["to_s"]), age["flows"]) for age in answer["ages"]]
        parts.append(output.aligned(("IDLE", "FLOWS"), ages))
        rows: list[Row] = [
            (row["protocol"], endpoint(*row["virtual"]), endpoint(*row["server"]), row["flows"])
            for row in answer["servers"]
        ]
        parts.append(output.aligned(("PROTOCOL", "SERVICE", "SERVER", "FLOWS"), rows) + _more(answer["more_servers"]))
    if answer.get("clients"):
        clients = [(row["client"], row["flows"]) for row in answer["clients"]]
        parts.append(output.aligned(("CLIENTS", "FLOWS"), clients) + _more(answer["more_clients"]))
    return "\n\n".join(parts)


def _more(count: int) -> str:
    return f"\n(and {count} more; --limit N shows them)" if count else ""


def _age(begin: int, end: int | None) -> str:
    return f"{_duration(begin)} and more" if end is None else f"{_duration(begin)} to {_duration(end)}"


def _duration(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
