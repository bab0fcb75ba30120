"""What IPVS can do and xlvs cannot yet: refused with one sentence, after what IPVS itself would have said about it."""

from __future__ import annotations

from xlvs.cli.adm import errors
from xlvs.cli.adm.errors import Refused
from xlvs.cli.adm.parse import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any


def not_yet(what: str) -> Refused:
    """Return the refusal of a thing that IPVS has and xlvs has not."""
    return Refused(f"xlvs does not support {what} yet")


def refuse_daemon(command: Command, services: list[dict[str, Any]], interfaces: Collection[str]) -> Refused:
    """Return the refusal to start the connection sync daemon, which xlvs has not, beside these *services*."""
    for service in services:
        six = ":" in service["listen"]["address"]
        if any((":" in server["address"]) is not six for server in service["servers"]):
            return Refused(errors.NOT_UNICAST)
    if command.interface != "lo" and command.interface not in interfaces:
        return Refused(errors.NO_SUCH_DEVICE)
    return not_yet("the connection sync daemon")
