"""``xlvsadm``: ipvsadm's grammar, output and exit codes in front of the xlvs daemon.

What ipvsadm 1.31 says, this says; what IPVS can do and xlvs cannot yet is
refused with a sentence, never ignored.  Messages carry ipvsadm's own name.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterable

from xlvs.cli.adm import errors, support
from xlvs.cli.adm.errors import Refused, Stop, fail, try_help
from xlvs.cli.adm.parse import Command, parse
from xlvs.cli.client import Client
from xlvs.errors import NoSuchServiceError, UnreachableError, XlvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(words: list[str] | None = None) -> int:
    """Run one ipvsadm command line and return its exit status; no words at all list the table."""
    words = sys.argv[1:] if words is None else words
    return _guard(lambda client: _run(client, words or ["-L"]))


def main_save(words: list[str] | None = None) -> int:
    """Run ``xlvsadm-save [-n]``: print the rules, as ipvsadm-save(8)."""
    words = sys.argv[1:] if words is None else words
    return _guard(lambda client: _run(client, ["-S", *words]))


def main_restore(words: list[str] | None = None) -> int:
    """Run ``xlvsadm-restore``: clear the table and read rules, as ipvsadm-restore(8); ``#`` begins a comment line."""
    words = sys.argv[1:] if words is None else words

    def restore(client: Client) -> int:
        if words:
            raise fail(f"unexpected argument {words[0]}")
        # All of it is read before the table is cleared: a broken pipe must not leave half a table.
        rules = [line for line in _input() if not line.startswith("#")]
        _run(client, ["-C"])
        return _restore(client, rules)

    return _guard(restore)


def _guard(work: Callable[[Client], int]) -> int:
    """Do the *work* with a connection to the daemon and turn every failure into text and an exit status."""
    try:
        with Client() as client:
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
            return _restore(client, _input())
        _COMMANDS[command.name](client, command)
    except UnreachableError:
        raise
    except (Refused, XlvsError) as error:
        sys.stderr.write(f"{error}\n")
        return errors.REFUSED
    return 0


def _input() -> Iterable[str]:
    return (line.decode(errors="surrogateescape") for line in sys.stdin.buffer)


def _restore(client: Client, lines: Iterable[str]) -> int:
    """Run each line as a command; the status is that of the last one, as ipvsadm has it."""
    status = 0
    for line in lines:
        words = [word for word in line.replace("\t", " ").replace("\r", " ").rstrip("\n").split(" ") if word]
        words = [word for word in words if word != "ipvsadm"]
        if words:
            status = _run(client, words, restoring=True)
    return status


def _ask(client: Client, command: Command, op: str, **arguments: object) -> Any:
    """Ask the daemon and raise its refusal of *command* in ipvsadm's words."""
    try:
        return client.call(op, **arguments)
    except UnreachableError:
        raise
    except XlvsError as error:
        if error.code == "unknown-scheduler":
            raise support.unknown_scheduler(command) from error
        raise Refused(errors.sentence(command.name, error)) from error


def _key(command: Command) -> dict[str, object]:
    return {"protocol": command.protocol, "address": _text(command.address), "port": command.port}


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _find(client: Client, command: Command) -> Any:
    """Return the service that *command* names as the daemon lists it, None if there is none."""
    if not support.can_exist(command):
        return None
    try:
        return client.call("list", service=_key(command))["services"][0]
    except NoSuchServiceError:
        return None


def _write_service(client: Client, command: Command) -> None:
    lacking = support.unsupported_service(command)
    if lacking:
        exists = _find(client, command) is not None
        if exists and command.name == "add-service":
            raise Refused(errors.SERVICE_EXISTS)
        if not exists and command.name == "edit-service":
            raise Refused(errors.NO_SUCH_SERVICE)
        support.check_scheduling(command)
        raise support.not_yet(lacking)
    service = {**_key(command), "scheduler": command.scheduler, "flags": sorted(command.flags)}
    _ask(client, command, command.name, service=service)


def _delete_service(client: Client, command: Command) -> None:
    if not support.can_exist(command):
        raise Refused(errors.NO_SUCH_SERVICE)
    _ask(client, command, "delete-service", service=_key(command))


def _write_server(client: Client, command: Command) -> None:
    if not support.can_exist(command):
        raise Refused(errors.SERVICE_NOT_DEFINED)
    if support.doubtful_server(command):
        service = _find(client, command)
        if service is None:
            raise Refused(errors.SERVICE_NOT_DEFINED)
        support.check_server(command, service)
    server = {
        "address": _text(command.server_address),
        "port": command.server_port,
        "forward": command.forward,
        "weight": command.weight,
        "upper": command.upper,
        "lower": command.lower,
    }
    _ask(client, command, command.name, service=_key(command), server=server)


def _delete_server(client: Client, command: Command) -> None:
    if not support.can_exist(command):
        raise Refused(errors.SERVICE_NOT_DEFINED)
    server = {"address": _text(command.server_address), "port": command.server_port}
    _ask(client, command, "delete-server", service=_key(command), server=server)


def _flush(client: Client, command: Command) -> None:
    _ask(client, command, "flush")


def _zero(client: Client, command: Command) -> None:
    if not command.family:
        _ask(client, command, "zero")
    elif support.can_exist(command):
        _ask(client, command, "zero", service=_key(command))
    else:
        raise Refused(errors.NO_SUCH_SERVICE)


def _list(client: Client, command: Command) -> None:
    from xlvs.cli.adm import format as tables

    options = command.options
    if "connection" in options:
        sys.stdout.write(tables.format_flows(_ask(client, command, "flows"), options))
    elif command.family:
        service = _find(client, command)
        if service is None:
            raise Stop(1, f"{errors.NO_SUCH_SERVICE}\n")
        sys.stdout.write(tables.format_list({"services": [service]}, options, single=True))
    elif "timeout" in options:
        sys.stdout.write(tables.format_timeouts(_ask(client, command, "timeouts")))
    elif "daemon" in options:
        # There is no connection sync daemon, and of none ipvsadm prints nothing.
        pass
    else:
        sys.stdout.write(tables.format_list(_ask(client, command, "list"), options, single=False))


def _save(client: Client, command: Command) -> None:
    from xlvs.cli.adm import format as tables

    sys.stdout.write(tables.format_rules(_ask(client, command, "list"), command.options))


def _set(_client: Client, _command: Command) -> None:
    raise support.not_yet("changing timeouts")


def _sync_daemon(_client: Client, command: Command) -> None:
    raise support.refuse_daemon(command)


_COMMANDS: dict[str, Callable[[Client, Command], None]] = {
    "add-service": _write_service,
    "edit-service": _write_service,
    "delete-service": _delete_service,
    "flush": _flush,
    "list": _list,
    "add-server": _write_server,
    "delete-server": _delete_server,
    "edit-server": _write_server,
    "set": _set,
    "start-daemon": _sync_daemon,
    "stop-daemon": _sync_daemon,
    "save": _save,
    "zero": _zero,
}
