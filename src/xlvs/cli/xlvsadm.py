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

OWNER = "cli"
"""Whose everything becomes that is made here, and whose alone is deleted."""

_SERVICES = "/v1/services"


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


def _ask(command: Command, ask: Callable[..., Any], path: str, *arguments: object) -> Any:
    """Ask the daemon and raise its refusal of *command* in ipvsadm's words."""
    try:
        return ask(path, *arguments)
    except UnreachableError:
        raise
    except XlvsError as error:
        if error.code == "unknown-scheduler":
            raise support.unknown_scheduler(command) from error
        raise Refused(errors.sentence(command.name, error)) from error


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _endpoint(address: bytes, port: int) -> str:
    return f"{_text(address)}:{port}" if len(address) == 4 else f"[{_text(address)}]:{port}"


def _path(command: Command) -> str:
    """Return where the service that *command* names is."""
    return f"{_SERVICES}/{command.protocol}:{_endpoint(command.address, command.port)}"


def _server_path(command: Command) -> str:
    """Return where the real server that *command* names is."""
    return f"{_path(command)}/servers/{_endpoint(command.server_address, command.server_port)}"


def _find(client: Client, command: Command, counters: str = "false") -> Any:
    """Return the service that *command* names as the daemon lists it, None if there is none."""
    if not support.can_exist(command):
        return None
    try:
        return client.get(_path(command), {"counters": counters})
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
    scheduling = {"scheduler": command.scheduler, "flags": sorted(command.flags)}
    if command.name == "edit-service":
        if not support.can_exist(command):
            raise Refused(errors.NO_SUCH_SERVICE)
        _ask(command, client.patch, _path(command), scheduling)
    else:
        listen = {"protocol": command.protocol, "address": _text(command.address), "port": command.port}
        _ask(command, client.post, _SERVICES, {"listen": listen, **scheduling})


def _delete_service(client: Client, command: Command) -> None:
    if not support.can_exist(command):
        raise Refused(errors.NO_SUCH_SERVICE)
    _ask(command, client.delete, _path(command))


def _write_server(client: Client, command: Command) -> None:
    if not support.can_exist(command):
        raise Refused(errors.SERVICE_NOT_DEFINED)
    if support.doubtful_server(command):
        service = _find(client, command)
        if service is None:
            raise Refused(errors.SERVICE_NOT_DEFINED)
        support.check_server(command, service)
    server = {
        "forward": command.forward,
        "weight": command.weight,
        "upper": command.upper,
        "lower": command.lower,
    }
    if command.name == "edit-server":
        _ask(command, client.patch, _server_path(command), server)
    else:
        where = {"address": _text(command.server_address), "port": command.server_port}
        _ask(command, client.post, f"{_path(command)}/servers", {**where, **server})


def _delete_server(client: Client, command: Command) -> None:
    if not support.can_exist(command):
        raise Refused(errors.SERVICE_NOT_DEFINED)
    _ask(command, client.delete, _server_path(command))


def _flush(client: Client, command: Command) -> None:
    remaining = _ask(command, client.delete, _SERVICES)["remaining"]
    if remaining:
        services = "service belongs" if remaining == 1 else "services belong"
        sys.stderr.write(f"{remaining} virtual {services} to others (xlvs get services) and stayed\n")


def _zero(client: Client, command: Command) -> None:
    if not command.family:
        _ask(command, client.post, "/v1/zero")
    elif support.can_exist(command):
        service = f"{command.protocol}:{_endpoint(command.address, command.port)}"
        _ask(command, client.post, "/v1/zero", None, {"service": service})
    else:
        raise Refused(errors.NO_SUCH_SERVICE)


def _list(client: Client, command: Command) -> None:
    from xlvs.cli.adm import format as tables

    options = command.options
    if "connection" in options:
        blocks = _ask(command, client.blocks, "/v1/flows", {"fields": ",".join(tables.FLOW_FIELDS)})
        for text in tables.format_flows(blocks, options):
            sys.stdout.write(text)
    elif command.family:
        service = _find(client, command, _counters(options))
        if service is None:
            raise Stop(1, f"{errors.NO_SUCH_SERVICE}\n")
        sys.stdout.write(tables.format_list([service], options, single=True))
    elif "timeout" in options:
        sys.stdout.write(tables.format_timeouts(_ask(command, client.get, "/v1/timeouts")))
    elif "daemon" in options:
        # There is no connection sync daemon, and of none ipvsadm prints nothing.
        pass
    else:
        found = _ask(command, client.get, _SERVICES, {"counters": _counters(options)})
        sys.stdout.write(tables.format_list(found["services"], options, single=False))


def _counters(options: set[str]) -> str:
    """Return how much of what is counted the table of these *options* shows."""
    return "true" if options & {"stats", "rate"} else "connections"


def _save(client: Client, command: Command) -> None:
    from xlvs.cli.adm import format as tables

    found = _ask(command, client.get, _SERVICES, {"counters": "false"})
    sys.stdout.write(tables.format_rules(found["services"], command.options))


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
