"""``xlvs get``: what the director does, as tables, JSON or YAML.  Warnings go to stderr.  Asks, never changes."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from xlvs.cli import base
from xlvs.cli.client import Client
from xlvs.cli.show import flows, output
from xlvs.cli.show.views import VIEWS


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs get``."""
    found = base.parser("get", "Show what the director does.")
    found.add_argument("what", choices=list(VIEWS))
    found.add_argument("name", nargs="*", help="of services and servers: only of the services of this name or id")
    found.add_argument(
        *("-o", "--output"),
        choices=("table", "wide", "json", "yaml"),
        default="table",
        help="yaml of services is a file for `xlvs apply`",
    )
    found.add_argument("-w", "--watch", action="store_true", help="go on, and print what changes")
    found.add_argument("--interval", type=float, default=2.0, metavar="S", help="seconds between looks of --watch")
    flows.add_options(found)
    return found


def main(argv: list[str]) -> int:
    """Run ``xlvs get``; return the exit code."""
    found = parser()
    options = found.parse_args(argv)
    if options.name and options.what not in ("services", "servers"):
        found.error(f"{options.what} have no names")
    flows.check_options(found, options)
    with base.connect(options) as client:
        if options.watch:
            from xlvs.cli.show import watch

            return watch.run(client, options)
        if options.what == "flows":
            return flows.run(client, options)
        answer = ask(client, options.what, options.name)
        status = answer if options.what == "status" else client.get("/v1/status")
    for warning in status["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    print(text(answer, options.what, options.output))
    return 0


def ask(client: Client, what: str, names: list[str], query: dict[str, object] | None = None) -> Any:
    """Return what the daemon answers about *what*."""
    if not names:
        return client.get(VIEWS[what].path, query)
    services = [client.get(f"/v1/services/{name}") for name in names]
    return {"generation": client.generation, "services": services}


def text(answer: Any, what: str, style: str) -> str:
    """Return the daemon's *answer* as it is printed."""
    if style == "json":
        return json.dumps(answer, indent=2)
    if style == "yaml":
        return _yaml(answer, what)
    view, wide = VIEWS[what], style == "wide"
    return output.aligned(view.header(wide=wide), view.table(answer, wide=wide))


def _yaml(answer: Any, what: str) -> str:
    if what == "services":
        from xlvs.config import dump
        from xlvs.model import Service, codec

        return dump(codec.convert(service, Service) for service in answer["services"]).rstrip()
    import yaml

    return str(yaml.dump(answer, Dumper=yaml.CSafeDumper, sort_keys=False)).rstrip()
