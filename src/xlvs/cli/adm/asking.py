"""What is asked of the daemon, with its refusals in ipvsadm's words."""

from __future__ import annotations

from collections.abc import Callable

from xlvs.cli.adm.errors import Refused, sentence
from xlvs.cli.adm.parse import Command
from xlvs.errors import UnreachableError, XlvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from xlvs.cli.client import Client

SERVICES = "/v1/services"
EDITS = "/v1/edits"


def ask(command: Command, call: Callable[..., Any], path: str, *arguments: object) -> Any:
    """Return what the daemon answers, or raise its refusal of *command* in ipvsadm's words."""
    try:
        return call(path, *arguments)
    except UnreachableError:
        raise
    except XlvsError as error:
        raise Refused(sentence(command.name, error)) from error


def make(client: Client, edits: list[dict[str, Any]], *, atomic: bool) -> Any:
    """Have these *edits* made and return what the daemon says of them; raises `XlvsError`."""
    return client.post(EDITS, {"edits": edits}, {"atomic": atomic, "differences": False})


def tell_remaining(remaining: int) -> str:
    """Return what to say of services that a flush left because others own them, "" if there are none."""
    if not remaining:
        return ""
    services = "service belongs" if remaining == 1 else "services belong"
    return f"{remaining} virtual {services} to others (xlvs get services) and stayed\n"
