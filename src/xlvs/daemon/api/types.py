"""What clients send, as msgspec reads it and OpenAPI describes it, and the way from there to the model.

A body is understood whole or refused: an unknown field is an error.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from xlvs.errors import InvalidError
from xlvs.model import Address, Server, Service, ServiceKey

Protocol = Literal["tcp", "udp"]
Forward = Literal["nat", "route", "ipip"]
Flag = Literal["flag-1", "flag-2", "flag-3"]
Hook = Literal["xdp", "tc", "none", "auto"]
# linux/if.h: IFNAMSIZ is 16 with the final zero; net/core/dev.c, dev_valid_name: no slash, no colon, no white space.
Device = Annotated[str, Meta(pattern=r"^[^/:\s]{1,15}$")]
NoDevice = Annotated[str, Meta(pattern=r"^[^/:\s]{0,15}$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
ServerPort = Annotated[int, Meta(ge=0, le=65535)]
Weight = Annotated[int, Meta(ge=0, le=65535)]
Threshold = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


class Listen(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What clients connect to."""

    protocol: Protocol
    address: str
    port: Port

    def key(self) -> ServiceKey:
        """Return the model's value; raises `InvalidError`."""
        return ServiceKey(self.protocol, Address.parse(self.address), self.port)


class ServerBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """One real server.  `owner` is only read: whose it becomes, the parameter of that name says."""

    address: str
    port: ServerPort
    forward: Forward = "route"
    weight: Weight = 1
    upper: Threshold = 0
    lower: Threshold = 0
    owner: str = ""

    def server(self, owner: str) -> Server:
        """Return the model's value; raises `InvalidError`."""
        address = Address.parse(self.address)
        return Server(address, self.port, self.forward, self.weight, self.upper, self.lower, owner)


class ServiceBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One virtual service with its real servers, oldest first.  `owner` is only read, as that of a server."""

    listen: Listen
    scheduler: str = "wlc"
    flags: list[Flag] = []
    servers: list[ServerBody] = []
    name: str = ""
    device: NoDevice = ""
    owner: str = ""

    def service(self, owner: str) -> Service:
        """Return the model's value; raises `InvalidError`."""
        parse = Address.parse
        servers = tuple(
            [Server(parse(s.address), s.port, s.forward, s.weight, s.upper, s.lower, owner) for s in self.servers]
        )
        service = Service(
            self.listen.key(), self.scheduler, frozenset(self.flags), servers, self.name, self.device, owner
        )
        if len({(server.address, server.port) for server in servers}) < len(servers):
            raise InvalidError(f"virtual service {service.title} has a real server twice")
        return service


class ServicePatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The fields of a virtual service to change; null is the default again (RFC 7396)."""

    scheduler: str | None | UnsetType = UNSET
    flags: list[Flag] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    device: NoDevice | None | UnsetType = UNSET

    def apply(self, service: Service) -> Service:
        """Return *service* with these fields; raises `InvalidError`."""
        changes = {}
        defaults = {"scheduler": "wlc", "flags": (), "name": "", "device": ""}
        for field, default in defaults.items():
            value = getattr(self, field)
            if value is not UNSET:
                changes[field] = default if value is None else value
        if "flags" in changes:
            changes["flags"] = frozenset(changes["flags"])
        return msgspec.structs.replace(service, **changes)


class ServerPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The fields of a real server to change; null is the default again (RFC 7396)."""

    forward: Forward | None | UnsetType = UNSET
    weight: Weight | None | UnsetType = UNSET
    upper: Threshold | None | UnsetType = UNSET
    lower: Threshold | None | UnsetType = UNSET

    def apply(self, server: Server) -> Server:
        """Return *server* with these fields; raises `InvalidError`."""
        changes = {}
        for field, default in {"forward": "route", "weight": 1, "upper": 0, "lower": 0}.items():
            value = getattr(self, field)
            if value is not UNSET:
                changes[field] = default if value is None else value
        return msgspec.structs.replace(server, **changes)


class ConfigBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole of what one owner wants.  `interfaces` null leaves them to xlvs; left out, they stay as they are."""

    services: list[ServiceBody]
    interfaces: dict[Device, Hook] | None | UnsetType = UNSET


def read_endpoint(text: str) -> tuple[Address, int]:
    """Return address and port of ``10.0.0.1:80`` or ``[2001:db8::1]:80``; raises `InvalidError`."""
    address, _, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if bare == address and ":" in bare or not (port.isascii() and port.isdecimal()) or int(port[:6]) > 65535:
        raise InvalidError(f"{text!r} names no real server; write one as 10.0.0.1:80")
    return Address.parse(bare), int(port)
