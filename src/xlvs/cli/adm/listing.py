"""``-L`` and ``-S``: what is asked of the daemon, and the table or JSON that is printed of it."""

from __future__ import annotations

import json
import sys

from xlvs.cli.adm import connections, errors
from xlvs.cli.adm import format as tables
from xlvs.cli.adm.asking import SERVICES, ask
from xlvs.cli.adm.edits import service_id
from xlvs.cli.adm.errors import Stop
from xlvs.cli.adm.parse import Command
from xlvs.errors import NoSuchServiceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from xlvs.cli.client import Client


def show(client: Client, command: Command) -> None:
    """Print what ``-L`` of these options prints."""
    options = command.options
    if "connection" in options:
        _connections(client, command)
    elif "timeout" in options:
        timeouts = ask(command, client.get, "/v1/timeouts")
        _print(command, timeouts, tables.format_timeouts)
    elif "daemon" in options:
        # There is no connection sync daemon, and of none ipvsadm prints nothing.
        _print(command, [], lambda _none: "")
    else:
        _services(client, command)


def save(client: Client, command: Command) -> None:
    """Print the rules of ``-S``."""
    found = ask(command, client.get, SERVICES, {"counters": "false"})
    sys.stdout.write(tables.format_rules(found["services"], command.options))


def _print(command: Command, value: Any, table: Any) -> None:
    sys.stdout.write(table(value) if command.output == "table" else json.dumps(value, indent=1) + "\n")


def _services(client: Client, command: Command) -> None:
    options, single = command.options, bool(command.family)
    counters = {"counters": _counters(command)}
    if single:
        try:
            found = [ask_service(client, command, counters)]
        except NoSuchServiceError:
            raise Stop(1, f"{errors.NO_SUCH_SERVICE}\n") from None
    else:
        found = ask(command, client.get, SERVICES, counters)["services"]
    if command.output == "json":
        found = tables.arrange(found, options)
    _print(command, found, lambda rows: tables.format_list(rows, options, single=single))


def ask_service(client: Client, command: Command, counters: dict[str, str]) -> Any:
    """Return the service that *command* names as the daemon lists it; raises `NoSuchServiceError`."""
    return client.get(f"{SERVICES}/{service_id(command)}", counters)


def _counters(command: Command) -> str:
    """Return how much of what is counted is shown."""
    return "true" if command.output == "json" or command.options & {"stats", "rate"} else "connections"


def _connections(client: Client, command: Command) -> None:
    query = {name.replace("-", "_"): value for name, value in command.filters.items()}
    if "largest" in command.options:
        query["sort"] = "bytes"
    if command.output == "json":
        for block in ask(command, client.blocks, "/v1/flows", query, "application/json"):
            sys.stdout.write(block.decode())
        return
    query["fields"] = ",".join(connections.fields(command.options))
    for text in connections.format_connections(ask(command, client.blocks, "/v1/flows", query), command.options):
        sys.stdout.write(text)
