"""``xlvs sysctl``: the switches that IPVS has under ``net.ipv4.vs``, read and written as sysctl(8) does it."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from xlvs.cli.client import DEFAULT_INSTANCE, Client, socket_path
from xlvs.errors import InvalidError, XlvsError
from xlvs.model.sysctls import lookup

PREFIX = "net.ipv4.vs."


def main(argv: list[str]) -> int:
    """Run ``xlvs sysctl``; return the exit code."""
    options = parser().parse_args(argv)
    try:
        with Client(socket_path(options.instance), owner="cli") as client:
            _run(client, options.words, values_only=options.values)
    except XlvsError as err:
        print(f"xlvs: {err}", file=sys.stderr)
        return err.exit_code
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(
        prog="xlvs sysctl", description="Show or write the switches of IPVS; without a word, show all."
    )
    found.add_argument("words", nargs="*", metavar="NAME[=VALUE]", help="a name to show, or to write a value to")
    found.add_argument("-n", "--values", action="store_true", help="print values without names")
    found.add_argument("--instance", default=os.environ.get("XLVS_INSTANCE") or DEFAULT_INSTANCE, metavar="NAME")
    return found


def _run(client: Client, words: list[str], *, values_only: bool) -> None:
    written: dict[str, str] = {}
    shown: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        found = lookup(name.strip()).name
        shown.append(found)
        if equals:
            if not text.strip():
                raise InvalidError(f"sysctl {found} gets no value; write {found}=VALUE")
            written[found] = text.strip()
    if written:
        client.patch("/v1/sysctls", written)
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in client.get("/v1/sysctls")}
    for name in shown or rows:
        row = rows[name]
        print(row["value"] if values_only else f"{PREFIX}{name} = {row['value']}")
        if row["lacks"] and shown:
            print(f"xlvs: {name} has no effect: {row['lacks']}", file=sys.stderr)
