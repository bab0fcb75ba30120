"""What clients send, as msgspec reads it and OpenAPI describes it, and the way from there to the model.

A body is understood whole or refused: an unknown field is an error.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from xlvs.errors import InvalidError
from xlvs.model import Address, Server, Service, ServiceKey
from xlvs.model.server import MAX_WEIGHT
from xlvs.model.service import MAX_PERSISTENT

Protocol = Literal["tcp", "udp"]
Forward = Literal["nat", "route", "ipip", "gue", "gre"]
Flag = Literal["flag-1", "flag-2", "flag-3"]
Hook = Literal["xdp", "tc", "none", "auto"]
# linux/if.h: IFNAMSIZ is 16 with the final zero; net/core/dev.c, dev_valid_name: no slash, no colon, no white space.
Device = Annotated[str, Meta(pattern=r"^[^/:\s]{1,15}$")]
NoDevice = Annotated[str, Meta(pattern=r"^[^/:\s]{0,15}$")]
Port = Annotated[int, Meta(ge=1, le=65535)]
ServerPort = Annotated[int, Meta(ge=0, le=65535)]
Weight = Annotated[int, Meta(ge=0, le=MAX_WEIGHT)]
Checksum = Literal["none", "full", "remote"]
Engine = Literal["", "sip"]
Persistent = Annotated[int, Meta(ge=0, le=MAX_PERSISTENT)]
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
    tunnel_port: ServerPort = 0
    tunnel_checksum: Checksum = "none"

    def server(self, owner: str) -> Server:
        """Return the model's value; raises `InvalidError`."""
        address = Address.parse(self.address)
        return Server(
            address, self.port, self.forward, self.weight, self.upper, self.lower, owner,
            self.tunnel_port, self.tunnel_checksum,
        )  # fmt: skip


class ServiceBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One virtual service with its real servers, oldest first.  `owner` is only read, as that of a server."""

    listen: Listen
    scheduler: str = "wlc"
    flags: list[Flag] = []
    servers: list[ServerBody] = []
    name: str = ""
    device: NoDevice = ""
    owner: str = ""
    persistent: Persistent = 0
    netmask: str = ""
    engine: Engine = ""
    ops: bool = False
    table: Annotated[int, Meta(ge=0)] = 0

    def service(self, owner: str) -> Service:
        """Return the model's value; raises `InvalidError`."""
        servers = tuple([s.server(owner) for s in self.servers])
        service = Service(
            self.listen.key(), self.scheduler, frozenset(self.flags), servers, self.name, self.device, owner,
            self.persistent, self.netmask, self.engine, self.ops, self.table,
        )  # fmt: skip
        if len({(server.address, server.port) for server in servers}) < len(servers):
            raise InvalidError(f"virtual service {service.title} has a real server twice")
        return service


class ServicePatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The fields of a virtual service to change; null is the default again (RFC 7396)."""

    scheduler: str | None | UnsetType = UNSET
    flags: list[Flag] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    device: NoDevice | None | UnsetType = UNSET
    persistent: Persistent | None | UnsetType = UNSET
    netmask: str | None | UnsetType = UNSET
    engine: Engine | None | UnsetType = UNSET
    ops: bool | None | UnsetType = UNSET
    table: Annotated[int, Meta(ge=0)] | None | UnsetType = UNSET

    def apply(self, service: Service) -> Service:
        """Return *service* with these fields; raises `InvalidError`."""
        changes = _given(self, Service)
        if "flags" in changes:
            changes["flags"] = frozenset(changes["flags"])
        return msgspec.structs.replace(service, **changes)


class ServerPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The fields of a real server to change; null is the default again (RFC 7396)."""

    forward: Forward | None | UnsetType = UNSET
    weight: Weight | None | UnsetType = UNSET
    upper: Threshold | None | UnsetType = UNSET
    lower: Threshold | None | UnsetType = UNSET
    tunnel_port: ServerPort | None | UnsetType = UNSET
    tunnel_checksum: Checksum | None | UnsetType = UNSET

    def apply(self, server: Server) -> Server:
        """Return *server* with these fields; raises `InvalidError`."""
        return msgspec.structs.replace(server, **_given(self, Server))


def _given(patch: ServicePatch | ServerPatch, kind: type[Service | Server]) -> dict[str, Any]:
    """Return the fields that a *patch* sets, null as the default that the field has in *kind*."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    given = {name: getattr(patch, name) for name in patch.__struct_fields__}
    return {name: defaults[name] if value is None else value for name, value in given.items() if value is not UNSET}


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
