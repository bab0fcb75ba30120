"""``xlvs completion``: completion for shells, made by shtab from the parsers of all verbs."""

from __future__ import annotations

import argparse
import importlib

import shtab

from xlvs.cli import base

SHELLS = ("bash", "zsh", "tcsh")


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs completion``."""
    found = base.parser("completion", 'Print completion for a shell: eval "$(xlvs completion bash)"', instance=False)
    found.add_argument("shell", choices=SHELLS)
    return found


def main(argv: list[str]) -> int:
    """Run ``xlvs completion``; return the exit code."""
    print(shtab.complete(whole(), parser().parse_args(argv).shell))
    return 0


def whole() -> argparse.ArgumentParser:
    """Return one parser for all verbs."""
    from xlvs.cli.main import COMMANDS

    found = argparse.ArgumentParser(prog="xlvs")
    verbs = found.add_subparsers(dest="verb")
    for name, command in COMMANDS.items():
        make = getattr(importlib.import_module(command.module), f"parser{command.suffix}", None)
        parent = make() if make else argparse.ArgumentParser(add_help=False)
        verb = verbs.add_parser(name, help=command.text, parents=[parent], add_help=False)
        for action in verb._actions:
            if action.metavar == "FILE":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return found
