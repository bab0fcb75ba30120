"""``xlvs``: hands the rest of the command line to the sub-command that its first word names.

Sub-commands are imported by name when they run: ``xlvs get`` does not pay for
the daemon, and this layer stays below it.
"""

from __future__ import annotations

import importlib
import sys

import xlvs

COMMANDS = {
    "daemon": ("xlvs.daemon.main", "run the director, in the foreground"),
    "stop": ("xlvs.cli.stop", "end a daemon; with --purge remove every trace of it"),
    "get": ("xlvs.cli.get", "show services, servers, flows, drops, interfaces or status"),
    "real-server": ("xlvs.cli.real_server", "prepare this host as a real server, or undo that"),
}


def usage() -> str:
    """Return what ``xlvs --help`` prints."""
    rows = [f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items()]
    rows.append(f"  {'version':<12} print the version")
    return "\n".join(["usage: xlvs COMMAND [OPTION]...", "", *rows, "", "xlvs COMMAND --help tells more."])


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command; return the exit code."""
    command, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if command in ("-h", "--help", "help"):
        print(usage())
        return 0
    if command in ("version", "--version", "-V"):
        print(f"xlvs {xlvs.__version__}")
        return 0
    if command not in COMMANDS:
        print(f"xlvs: there is no command {command!r}\n{usage()}", file=sys.stderr)
        return 2
    run = importlib.import_module(COMMANDS[command][0]).main
    try:
        return int(run(rest))
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
