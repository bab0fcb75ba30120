"""What IPVS can do and xlvs cannot yet, and what the kernel would have said first.

A request that xlvs cannot carry out is refused with one sentence, but only
after every complaint that IPVS itself would have had about it.
"""

from __future__ import annotations

import socket

from xlvs.cli.adm import errors
from xlvs.cli.adm.address import is_unicast
from xlvs.cli.adm.errors import Refused
from xlvs.cli.adm.parse import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh")
"""The schedulers of IPVS (ipvsadm -h); which of them xlvs has, the daemon knows."""

ENGINES = ("", "sip")
MAX_WEIGHT = 65535
"""The largest weight that xlvs takes; the kernel takes any int."""


def not_yet(what: str) -> Refused:
    """Return the refusal of a thing that IPVS has and xlvs has not."""
    return Refused(f"xlvs does not support {what} yet")


def can_exist(command: Command) -> bool:
    """Say whether xlvs could have the service that *command* names: if not, there is none such."""
    return not command.fwmark and command.protocol != "sctp" and command.port != 0


def unsupported_service(command: Command) -> str:
    """Return what the service to add or edit needs and xlvs lacks, "" if nothing."""
    if command.fwmark:
        return "firewall marks"
    if command.protocol == "sctp":
        return "SCTP services"
    if "persistent" in command.options:
        return "persistent services"
    if command.engine:
        return "persistence engines"
    if "ops" in command.options:
        return "one-packet scheduling"
    return ""


def check_scheduling(command: Command) -> None:
    """Raise what the kernel raises about the scheduler and the persistence engine of *command*."""
    if command.scheduler not in SCHEDULERS or command.engine not in ENGINES:
        raise Refused(errors.SCHEDULER_NOT_FOUND)


def unknown_scheduler(command: Command) -> Refused:
    """Return the refusal of a scheduler that the daemon does not know."""
    if command.scheduler in SCHEDULERS:
        return not_yet(f"the {command.scheduler} scheduler")
    return Refused(errors.SCHEDULER_NOT_FOUND)


def doubtful_server(command: Command) -> bool:
    """Say whether the server to add or edit must be looked at more closely before it is sent."""
    return (
        command.upper != 0
        or command.lower != 0
        or command.weight > MAX_WEIGHT
        or command.tunnel != "ipip"
        or not is_unicast(command.server_address)
    )


def check_server(command: Command, service: dict[str, Any]) -> None:
    """Raise what the kernel, or else xlvs, says about a doubtful server of the existing *service*."""
    if command.lower > command.upper:
        raise Refused(errors.OUT_OF_RANGE)
    known = any(
        _pack(server["address"]) == command.server_address and server["port"] == command.server_port
        for server in service["servers"]
    )
    if command.name == "add-server" and known:
        raise Refused(errors.SERVER_EXISTS)
    if command.name == "edit-server" and not known:
        raise Refused(errors.NO_SUCH_SERVER)
    if not is_unicast(command.server_address):
        raise Refused(errors.NOT_UNICAST)
    if command.upper:
        raise not_yet("connection thresholds")
    if command.tunnel != "ipip":
        raise not_yet(f"{command.tunnel.upper()} tunnels")
    if command.weight > MAX_WEIGHT:
        raise not_yet(f"weights above {MAX_WEIGHT}")


def refuse_daemon(command: Command) -> Refused:
    """Return the refusal of a command to the connection sync daemon, which xlvs has not."""
    if command.name == "stop-daemon":
        return Refused(errors.NO_DAEMON)
    try:
        socket.if_nametoindex(command.interface)
    except OSError:
        return Refused(errors.NO_SUCH_DEVICE)
    return not_yet("the connection sync daemon")


def _pack(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
