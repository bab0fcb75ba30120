"""``xlvsadm``: ipvsadm's grammar, output and exit codes in front of the xlvs daemon.

What ipvsadm 1.31 says, this says; what IPVS can do and xlvs cannot yet is
refused with a sentence, never ignored.  Messages carry ipvsadm's own name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from xlvs.cli.adm import edits, errors, support
from xlvs.cli.adm.asking import SERVICES, ask, make, tell_remaining
from xlvs.cli.adm.errors import Refused, Stop, fail, sentence, try_help
from xlvs.cli.adm.parse import Command, parse
from xlvs.cli.client import Client
from xlvs.errors import UnreachableError, XlvsError

OWNER = "cli"
"""Whose everything becomes that is made here, and whose alone is deleted."""


def main(words: list[str] | None = None) -> int:
    """Run one ipvsadm command line and return its exit status; no words at all list the table."""
    words = sys.argv[1:] if words is None else words
    return _guard(lambda client: _run(client, words or ["-L"]))


def main_save(words: list[str] | None = None) -> int:
    """Run ``xlvsadm-save [-n]``: print the rules, as ipvsadm-save(8)."""
    words = sys.argv[1:] if words is None else words
    return _guard(lambda client: _run(client, ["-S", *words]))


def main_restore(words: list[str] | None = None) -> int:
    """Run ``xlvsadm-restore [--atomic]``: clear the table and read rules, as ipvsadm-restore(8).

    ``#`` begins a comment line.  With ``--atomic`` that is one change.
    """
    words = sys.argv[1:] if words is None else words

    def restore(client: Client) -> int:
        from xlvs.cli.adm.restore import Restore, lines_of, restore_whole

        whole = words == ["--atomic"]
        if words and not whole:
            raise fail(f"unexpected argument {words[0]}")
        # All of it is read before the table is cleared: a broken pipe must not leave half a table.
        rules = [line for line in lines_of(sys.stdin.buffer) if line is not None]
        # A comment is an empty line, so that lines keep their numbers.
        rules = ["" if line.startswith("#") else line for line in rules]
        if whole:
            return restore_whole(client, rules, clear=True)
        _run(client, ["-C"])
        return Restore(client, _run_line).feed(rules)

    return _guard(restore)


def _guard(work: Callable[[Client], int]) -> int:
    """Do the *work* with a connection to the daemon and turn every failure into text and an exit status."""
    try:
        with Client(owner=OWNER) as client:
            status = work(client)
            sys.stdout.flush()
            return status
    except Stop as stop:
        (sys.stdout if stop.on_stdout else sys.stderr).write(stop.text)
        return stop.status
    except UnreachableError as error:
        sys.stderr.write(errors.NOT_ROOT if isinstance(error.__cause__, PermissionError) else f"{error}\n")
        return errors.SYNTAX
    except BrokenPipeError:
        # The reader of our output has gone; the interpreter must not complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(client: Client, words: list[str], *, restoring: bool = False) -> int:
    """Run one command line; only what ends the whole program is raised."""
    try:
        command = parse(words)
        if command.name == "restore":
            if restoring:
                raise try_help()
            return _restore(client, command)
        _COMMANDS[command.name](client, command)
    except UnreachableError:
        raise
    except (Refused, XlvsError) as error:
        sys.stderr.write(f"{error}\n")
        return errors.REFUSED
    return 0


def _run_line(client: Client, words: list[str]) -> int:
    """Run one line of a restore."""
    return _run(client, words, restoring=True)


def _restore(client: Client, command: Command) -> int:
    from xlvs.cli.adm.restore import Restore, lines_of, restore_whole

    lines = lines_of(sys.stdin.buffer)
    if "atomic" in command.options:
        return restore_whole(client, (line for line in lines if line is not None))
    return Restore(client, _run_line).feed(lines)


def _change(client: Client, command: Command) -> None:
    try:
        answer = make(client, [edits.edit(command)], atomic=True)
    except UnreachableError:
        raise
    except XlvsError as error:
        raise Refused(sentence(command.name, error)) from error
    sys.stderr.write(tell_remaining(answer.get("remaining", 0)))


def _zero(client: Client, command: Command) -> None:
    which = {"service": edits.service_id(command)} if command.family else None
    ask(command, client.post, "/v1/zero", None, which)


def _list(client: Client, command: Command) -> None:
    from xlvs.cli.adm import listing

    listing.show(client, command)


def _save(client: Client, command: Command) -> None:
    from xlvs.cli.adm import listing

    listing.save(client, command)


def _set(client: Client, command: Command) -> None:
    words = zip(("tcp", "tcpfin", "udp"), command.timeouts, strict=True)
    ask(command, client.patch, "/v1/timeouts", {word: seconds for word, seconds in words if seconds})


def _start_daemon(client: Client, command: Command) -> None:
    services = ask(command, client.get, SERVICES, {"counters": "false"})["services"]
    interfaces = ask(command, client.get, "/v1/interfaces")
    raise support.refuse_daemon(command, services, {row["name"] for row in interfaces})


def _stop_daemon(_client: Client, _command: Command) -> None:
    raise Refused(errors.NO_DAEMON)


_COMMANDS: dict[str, Callable[[Client, Command], None]] = {
    **dict.fromkeys(edits.NAMES, _change),
    "list": _list,
    "set": _set,
    "start-daemon": _start_daemon,
    "stop-daemon": _stop_daemon,
    "save": _save,
    "zero": _zero,
}
