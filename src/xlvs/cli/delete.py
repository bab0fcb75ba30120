"""``xlvs delete``: remove a service.  Its flows go on to their end."""

from __future__ import annotations

import argparse

from xlvs.cli import base
from xlvs.cli.client import Client
from xlvs.errors import OwnedError


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs delete``."""
    found = base.parser("delete", "Remove a service; its flows go on to their end.")
    found.add_argument("what", choices=["service"])
    found.add_argument("name", metavar="NAME", help="its name, or its id: tcp:192.0.2.1:80")
    found.add_argument("--force", action="store_true", help="also if it belongs to a file or another client")
    return found


def main(argv: list[str]) -> int:
    """Run ``xlvs delete``; return the exit code."""
    options = parser().parse_args(argv)
    with base.connect(options, "cli") as client:
        return _delete(client, options.name, force=options.force)


def _delete(client: Client, name: str, *, force: bool) -> int:
    try:
        answer = client.delete(f"/v1/services/{name}", {"force": force})
    except OwnedError as err:
        raise OwnedError(f"{err} (--force)") from err
    print(f"generation {answer['generation']}: service {name} removed")
    return 0
