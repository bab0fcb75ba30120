"""What a command changes, as the daemon takes it: one of the edits of ``POST /v1/edits``."""

from __future__ import annotations

import socket

from xlvs.cli.adm.parse import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMES = (
    "add-service", "edit-service", "delete-service", "add-server", "edit-server", "delete-server", "flush",
)  # fmt: skip
"""The commands that are edits."""

_CHECKSUMS = {"tun-csum": "full", "tun-remcsum": "remote"}


def edit(command: Command) -> dict[str, Any]:
    """Return the edit that *command*, one of `NAMES`, asks for."""
    match command.name:
        case "flush":
            return {"do": "flush"}
        case "add-service":
            return {"do": "add-service", "service": {"listen": _listen(command), **_scheduling(command)}}
        case "edit-service":
            return {"do": "edit-service", "id": service_id(command), "changes": _scheduling(command)}
        case "delete-service":
            return {"do": "delete-service", "id": service_id(command)}
        case "add-server":
            where = {"address": _text(command.server_address), "port": command.server_port}
            return {"do": "add-server", "id": service_id(command), "server": {**where, **_forwarding(command)}}
        case "edit-server":
            found = {"do": "edit-server", "id": service_id(command), "server": _server(command)}
            return {**found, "changes": _forwarding(command)}
        case _:
            return {"do": "delete-server", "id": service_id(command), "server": _server(command)}


def service_id(command: Command) -> str:
    """Return the id of the service that *command* names."""
    if command.fwmark:
        return f"fwm{'6' if command.family == 6 else ''}:{command.fwmark}"
    return f"{command.protocol}:{_endpoint(command.address, command.port)}"


def _listen(command: Command) -> dict[str, Any]:
    if command.fwmark:
        return {"protocol": "fwm", "mark": command.fwmark, "family": command.family}
    return {"protocol": command.protocol, "address": _text(command.address), "port": command.port}


def _scheduling(command: Command) -> dict[str, Any]:
    """Return all that ``-A`` and ``-E`` set: what is not given is the default again."""
    return {
        "scheduler": command.scheduler,
        "flags": sorted(command.flags),
        "persistent": command.persistent,
        "netmask": command.netmask,
        "engine": command.engine,
        "ops": "ops" in command.options,
    }


def _forwarding(command: Command) -> dict[str, Any]:
    """Return all that ``-a`` and ``-e`` set: what is not given is the default again."""
    tunnel = command.forward == "ipip"
    checksum = next((word for option, word in _CHECKSUMS.items() if option in command.options), "none")
    return {
        "forward": command.tunnel if tunnel else command.forward,
        "weight": command.weight,
        "upper": command.upper,
        "lower": command.lower,
        "tunnel_port": command.tunnel_port,
        "tunnel_checksum": checksum,
    }


def _server(command: Command) -> str:
    return _endpoint(command.server_address, command.server_port)


def _text(address: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _endpoint(address: bytes, port: int) -> str:
    return f"{_text(address)}:{port}" if len(address) == 4 else f"[{_text(address)}]:{port}"
