"""``xlvs validate`` and ``xlvs schema``: what is wrong with a file, and what a file may say.  No daemon is asked."""

from __future__ import annotations

import argparse

from xlvs.cli import base


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs validate``."""
    found = base.parser("validate", "Say what is wrong with a file: everything at once.", instance=False)
    found.add_argument("file", metavar="FILE", help="the file, - for stdin")
    return found


def parser_schema() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs schema``."""
    return base.parser("schema", "Print the JSON Schema of the file, for editors.", instance=False)


def main(argv: list[str]) -> int:
    """Run ``xlvs validate``; return the exit code."""
    from xlvs import config

    options = parser().parse_args(argv)
    name = "<stdin>" if options.file == base.STDIN else options.file
    document = config.load(base.read(options.file), filename=name, owner=base.owner_of(options.file))
    servers = sum(len(service.servers) for service in document.services)
    print(f"{name}: no faults; services: {len(document.services)}, servers: {servers}")
    return 0


def main_schema(argv: list[str]) -> int:
    """Run ``xlvs schema``; return the exit code."""
    import json

    from xlvs import config

    parser_schema().parse_args(argv)
    print(json.dumps(config.schema(), indent=2))
    return 0
