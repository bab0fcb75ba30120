"""``xlvs``: hands the rest of the command line to the verb that its first word names.

Verbs are imported by name when they run: ``xlvs get`` does not pay for
the daemon, and this layer stays below it.  What a verb raises becomes one
sentence on stderr here.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import NamedTuple

import xlvs
from xlvs.errors import XlvsError


class Command(NamedTuple):
    """A verb: its module, what it does, and the end of the names of its ``main`` and ``parser`` there."""

    module: str
    text: str
    suffix: str = ""


COMMANDS = {
    "daemon": Command("xlvs.daemon.main", "run the director, in the foreground"),
    "stop": Command("xlvs.cli.stop", "end a daemon; with --purge remove every trace of it"),
    "validate": Command("xlvs.cli.validate", "say all that is wrong with a file"),
    "plan": Command("xlvs.cli.apply", "show what a file would change", "_plan"),
    "apply": Command("xlvs.cli.apply", "do what a file says"),
    "get": Command("xlvs.cli.show.get", "show services, servers, flows, drops, counters, interfaces or status"),
    "describe": Command("xlvs.cli.show.describe", "show everything about a service or a server"),
    "edit": Command("xlvs.cli.edit", "change a file or a service in your editor"),
    "delete": Command("xlvs.cli.delete", "remove a service"),
    "drain": Command("xlvs.cli.drain", "let a real server take no new connections"),
    "undrain": Command("xlvs.cli.drain", "have a drained server in service again", "_undrain"),
    "sysctl": Command("xlvs.cli.sysctl", "show or write the switches of IPVS"),
    "real-server": Command("xlvs.cli.real_server", "prepare this host as a real server, or undo that"),
    "schema": Command("xlvs.cli.validate", "print the JSON Schema of the file", "_schema"),
    "completion": Command("xlvs.cli.completion", "print completion for bash, zsh or tcsh"),
    "version": Command("xlvs.cli.version", "print the version, and that of the daemon"),
}


def usage() -> str:
    """Return what ``xlvs --help`` prints."""
    rows = [f"  {name:<12} {command.text}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: xlvs COMMAND [OPTION]...", "", *rows, "", "xlvs COMMAND --help tells more."])


def main(argv: list[str] | None = None) -> int:
    """Run one verb; return the exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help", "help"):
        print(usage())
        return 0
    if command in ("--version", "-V"):
        print(f"xlvs {xlvs.__version__}")
        return 0
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        print(f"xlvs: there is no command {command!r}{hint}\n{usage()}", file=sys.stderr)
        return 2
    found = COMMANDS[command]
    try:
        status = int(getattr(importlib.import_module(found.module), f"main{found.suffix}")(rest))
        sys.stdout.flush()
        return status
    except XlvsError as err:
        return _refused(err)
    except BrokenPipeError:
        # Whoever read our output has seen enough; the interpreter must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _refused(err: XlvsError) -> int:
    problems = getattr(err, "problems", None)
    if problems is None:
        print(f"xlvs: {err}", file=sys.stderr)
    else:
        # One fault a line, as compilers write them: editors and terminals lead there.
        print(err, file=sys.stderr)
        print(f"xlvs: faults: {len(problems)}; nothing was changed", file=sys.stderr)
    return err.exit_code


if __name__ == "__main__":
    sys.exit(main())
