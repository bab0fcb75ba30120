"""``xlvs get --watch``: first what there is, then, line by line, what changes, until interrupted.

Changes of services and servers are told by the daemon as they happen.  What is
counted is looked at again and again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from xlvs.cli.client import Client
from xlvs.cli.show import flows, get, output
from xlvs.cli.show.output import Row
from xlvs.cli.show.views import VIEWS, server_rows, service_row
from xlvs.errors import InvalidError, NoSuchServiceError, UnreachableError

_PAST = {"add": "added", "change": "changed", "remove": "removed"}


class Printer:
    """Prints rows under one header; its columns keep the width that the first rows gave them."""

    def __init__(self, header: Sequence[str], rows: list[Row]) -> None:
        self._widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
        self._numeric = [bool(rows) and all(str(row[i]).isdigit() for row in rows) for i in range(len(header))]
        self.add([header, *rows])

    def add(self, rows: Iterable[Row]) -> None:
        """Print more *rows*."""
        for row in rows:
            print(output.line(row, self._widths, self._numeric))
        # Whoever reads a pipe wants it now.
        sys.stdout.flush()


def run(client: Client, options: argparse.Namespace) -> int:
    """Watch what *options* say; returns only by an error or when the daemon ends."""
    if options.output == "yaml":
        raise InvalidError("what is watched can be a table or JSON, one object a line; YAML has no lines")
    if options.what in ("services", "servers"):
        _changes(client, options)
        raise UnreachableError("the daemon has ended, and the watch with it")
    _poll(client, options)
    return 0


def _changes(client: Client, options: argparse.Namespace) -> None:
    # The stream is opened first: what happens while the list is read must not get lost.
    with client.stream("/v1/watch") as events:
        answer = get.ask(client, options.what, options.name)
        generation = int(answer["generation"] or 0)
        watched = {_id(service) for service in answer["services"]} if options.name else None
        printer = None
        if options.output == "json":
            print(json.dumps(answer), flush=True)
        else:
            view, wide = VIEWS[options.what], options.output == "wide"
            printer = Printer(
                ("EVENT", *view.header(wide=wide)), [("-", *row) for row in view.table(answer, wide=wide)]
            )
        for event in events:
            if event.get("event") != "change" or int(event["id"]) <= generation:
                continue
            change = json.loads(event["data"])
            found = [d for d in change["differences"] if d["what"] == "service"]
            found = [d for d in found if watched is None or d["service"] in watched]
            if printer is not None:
                for difference in found:
                    printer.add(_rows(client, difference, options))
            elif found:
                print(json.dumps({**change, "differences": found}), flush=True)


def _id(service: Any) -> str:
    listen = service["listen"]
    return f"{listen['protocol']}:{output.endpoint(listen['address'], listen['port'])}"


def _rows(client: Client, difference: Any, options: argparse.Namespace) -> list[Row]:
    """Return the rows of one change: of the service as it is now, or of its name if it is gone."""
    width = len(VIEWS[options.what].header(wide=options.output == "wide"))
    service = _service(client, difference)
    protocol, _, name = difference["service"].partition(":")
    if options.what == "services":
        row = service_row(service) if service else (protocol, name, *[""] * width)
        return [(_PAST[difference["action"]], *row[:width])]
    present = {row[2]: row for row in server_rows(service)} if service else {}
    rows: list[Row] = []
    for server in difference.get("servers", ()):
        row = present.get(server["server"]) or (protocol, name, server["server"], *[""] * width)
        rows.append((_PAST[server["action"]], *row[:width]))
    return rows


def _service(client: Client, difference: Any) -> Any:
    if difference["action"] == "remove":
        return None
    try:
        return client.get(f"/v1/services/{difference['service']}")
    except NoSuchServiceError:
        return None  # removed since then; its event is on the way


def _poll(client: Client, options: argparse.Namespace) -> None:
    view, wide = VIEWS[options.what], options.output == "wide"
    header = view.header(wide=wide)
    calm = [i for i, name in enumerate(header) if name not in view.restless]
    printer = None
    last: set[tuple[object, ...]] = set()
    before: Any = None
    while True:
        answer = get.ask(client, options.what, [], flows.query(options))
        if options.output == "json":
            if answer != before:
                print(json.dumps(answer), flush=True)
            before = answer
        else:
            rows = view.table(answer, wide=wide)
            if printer is None:
                printer = Printer(header, rows)
            else:
                printer.add(row for row in rows if tuple(str(row[i]) for i in calm) not in last)
            last = {tuple(str(row[i]) for i in calm) for row in rows}
        time.sleep(options.interval)
