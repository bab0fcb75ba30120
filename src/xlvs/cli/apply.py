"""``xlvs apply`` and ``xlvs plan``: make the daemon do what a file says, or show what that would change.

The file is read and resolved here; the daemon gets values.  What other owners
have stays as it is.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from xlvs import config
from xlvs.cli import base
from xlvs.cli.client import Client
from xlvs.model import codec

if TYPE_CHECKING:
    from xlvs.config import Difference, Document

CHANGES = 2
"""The exit code of a plan that would change something."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs apply``."""
    found = _parser("apply", "Make the daemon do what a file says: all of it, or nothing.")
    found.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    return found


def parser_plan() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs plan``."""
    return _parser(
        "plan", "Show what `xlvs apply` would change; the exit code is 0 for nothing, 2 for changes, 1 for an error."
    )


def _parser(verb: str, description: str) -> argparse.ArgumentParser:
    found = base.parser(verb, description)
    found.add_argument("file", metavar="FILE", help="the file, - for stdin")
    found.add_argument(
        "--take-over", action="store_true", help="let the file have services and servers that belong to others"
    )
    return found


def main(argv: list[str]) -> int:
    """Run ``xlvs apply``; return the exit code."""
    options = parser().parse_args(argv)
    found, generation = _send(options, dry_run=options.dry_run)
    print(config.render(found), end="")
    print(told(found, generation, dry_run=options.dry_run))
    return 0


def main_plan(argv: list[str]) -> int:
    """Run ``xlvs plan``; return the exit code."""
    options = parser_plan().parse_args(argv)
    found, generation = _send(options, dry_run=True)
    print(config.render(found), end="")
    print(told(found, generation, dry_run=True))
    return CHANGES if found else 0


def _send(options: argparse.Namespace, *, dry_run: bool) -> tuple[list[Difference], int]:
    owner = base.owner_of(options.file)
    name = "<stdin>" if options.file == base.STDIN else options.file
    document = config.load(base.read(options.file), filename=name, owner=owner)
    with base.connect(options, owner) as client:
        return put(client, document, dry_run=dry_run, take_over=options.take_over)


def put(client: Client, document: Document, *, dry_run: bool, take_over: bool = False) -> tuple[list[Difference], int]:
    """Send a *document* to the daemon; return what changed, or would, and the generation of the state."""
    body: dict[str, Any] = {"services": document.services}
    if document.interfaces is not UNSET:
        body["interfaces"] = document.interfaces
    body |= {"timeouts": document.timeouts} if document.timeouts else {}
    body |= {"sysctls": document.sysctls} if document.sysctls else {}
    query = {"dry-run": dry_run, "force": take_over}
    return read(client.put("/v1/config", codec.encode(body), query))


def read(answer: Any) -> tuple[list[Difference], int]:
    """Return the differences and the generation in the *answer* to a write."""
    return codec.convert(answer["differences"], list[config.Difference]), answer["generation"]


def told(found: list[Difference], generation: int, *, dry_run: bool) -> str:
    """Return the sentence at the end."""
    if not found:
        return f"nothing to do: generation {generation} is as the file says"
    if dry_run:
        return f"to do: {config.summary(found)}"
    return f"generation {generation}: {config.summary(found)}"
