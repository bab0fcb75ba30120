"""``xlvs version``: the version of this command, and of the daemon if one answers."""

from __future__ import annotations

import argparse

import xlvs
from xlvs.cli import base
from xlvs.errors import UnreachableError


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs version``."""
    return base.parser("version", "Print the version of this command, and of the daemon if one answers.")


def main(argv: list[str]) -> int:
    """Run ``xlvs version``; return the exit code."""
    options = parser().parse_args(argv)
    print(f"xlvs {xlvs.__version__}")
    try:
        with base.connect(options) as client:
            status = client.get("/v1/status")
    except UnreachableError:
        print(f"daemon {options.instance}: does not answer")
    else:
        print(f"daemon {options.instance}: {status['version']} (ABI {status['abi']}, pid {status['pid']})")
    return 0
