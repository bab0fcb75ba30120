"""What clients send, as msgspec reads it and OpenAPI describes it, and the way from there to the model.

A body is understood whole or refused: an unknown field is an error.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from xlvs.errors import InvalidError
from xlvs.model import MARK, Address, Health, Match, Notify, Server, ServerHealth, Service, ServiceKey
from xlvs.model.server import MAX_WEIGHT
from xlvs.model.service import MAX_PERSISTENT
from xlvs.model.state import MAX_TIMEOUT

Protocol = Literal["tcp", "udp", "sctp", "fwm"]
Forward = Literal["nat", "route", "ipip", "gue", "gre"]
Flag = Literal["flag-1", "flag-2", "flag-3"]
Hook = Literal["xdp", "tc", "none", "auto"]
# linux/if.h: IFNAMSIZ is 16 with the final zero; net/core/dev.c, dev_valid_name: no slash, no colon, no white space.
Device = Annotated[str, Meta(pattern=r"^[^/:\s]{1,15}$")]
NoDevice = Annotated[str, Meta(pattern=r"^[^/:\s]{0,15}$")]
Port = Annotated[int, Meta(ge=0, le=65535)]
Weight = Annotated[int, Meta(ge=0, le=MAX_WEIGHT)]
Checksum = Literal["none", "full", "remote"]
Persistent = Annotated[int, Meta(ge=0, le=MAX_PERSISTENT)]
Timeout = Annotated[int, Meta(ge=1, le=MAX_TIMEOUT)]
Threshold = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]


class Listen(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What clients connect to: an address and a port, where 0 is every port; or, with protocol `fwm`, a firewall mark.

    Packets of one family have a mark's service; `address` is then only read.
    """

    protocol: Protocol
    address: str = ""
    port: Port = 0
    mark: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    family: Literal[4, 6] = 4

    def key(self) -> ServiceKey:
        """Return the model's value; raises `InvalidError`."""
        if self.protocol == MARK:
            return ServiceKey.of_mark(self.mark, self.family)
        if self.mark:
            raise InvalidError(f"mark {self.mark} is a service's whose protocol is {MARK}, not {self.protocol}")
        if not self.address:
            raise InvalidError("listen lacks its address; write one as 192.0.2.1")
        return ServiceKey(self.protocol, Address.parse(self.address), self.port)


class NotifyBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Commands that are run when a server's state or the quorum changes."""

    up: str = ""
    down: str = ""
    quorum_up: str = ""
    quorum_down: str = ""

    def notify(self) -> Notify:
        """Return the model's value."""
        return Notify(self.up, self.down, self.quorum_up, self.quorum_down)


class ServerHealthBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a server has instead of what its service says; null: as the service has it."""

    checks: list[dict[str, Any]] | None = None
    alpha: bool | None = None
    inhibit: bool | None = None
    notify: NotifyBody | None = None

    def health(self) -> ServerHealth:
        """Return the model's value; raises `InvalidError`."""
        checks = None if self.checks is None else _checks(self.checks)
        return ServerHealth(checks, self.alpha, self.inhibit, self.notify.notify() if self.notify else None)


class HealthBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which servers may get traffic, and what happens when they are too few; *slow_start* in seconds."""

    checks: list[dict[str, Any]] = []
    alpha: bool = False
    omega: bool = False
    quorum: Annotated[int, Meta(ge=1)] = 1
    hysteresis: Annotated[int, Meta(ge=0)] = 0
    inhibit: bool = False
    slow_start: Annotated[float, Meta(ge=0, le=86400)] = 0
    notify: NotifyBody = NotifyBody()
    maintenance: str = ""

    def health(self) -> Health:
        """Return the model's value; raises `InvalidError`."""
        return Health(
            _checks(self.checks), self.alpha, self.omega, self.quorum, self.hysteresis, self.inhibit, self.slow_start,
            self.notify.notify(), self.maintenance,
        )  # fmt: skip


def _checks(given: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return the checks as they are kept; raises `InvalidError` for one that means nothing."""
    from xlvs import health

    return tuple([health.parse(check).plain() for check in given])


class ServerBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """One real server.  `owner` is only read: whose it becomes, the parameter of that name says."""

    address: str
    port: Port
    forward: Forward = "route"
    weight: Weight = 1
    upper: Threshold = 0
    lower: Threshold = 0
    owner: str = ""
    tunnel_port: Port = 0
    tunnel_checksum: Checksum = "none"
    health: ServerHealthBody | None = None

    def server(self, owner: str) -> Server:
        """Return the model's value; raises `InvalidError`."""
        address = Address.parse(self.address)
        return Server(
            address, self.port, self.forward, self.weight, self.upper, self.lower, owner,
            self.tunnel_port, self.tunnel_checksum, self.health.health() if self.health else None,
        )  # fmt: skip


class MatchBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Packets to an address or network (`192.0.2.0/24`), of one protocol or each, at a port, a range of them or all."""

    address: str
    protocol: Literal["", "tcp", "udp"] = ""
    ports: str = ""

    def match(self) -> Match:
        """Return the model's value; raises `InvalidError`."""
        return Match.parse(self.address, self.protocol, self.ports)


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
    engine: str = ""
    ops: bool = False
    table: Annotated[int, Meta(ge=0)] = 0
    match: list[MatchBody] = []
    health: HealthBody | None = None
    sorry_server: ServerBody | None = None

    def service(self, owner: str) -> Service:
        """Return the model's value; raises `InvalidError`."""
        servers = tuple([s.server(owner) for s in self.servers])
        service = Service(
            self.listen.key(), self.scheduler, frozenset(self.flags), servers, self.name, self.device, owner,
            self.persistent, self.netmask, self.engine, self.ops, self.table,
            tuple([match.match() for match in self.match]), self.health.health() if self.health else None,
            self.sorry_server.server(owner) if self.sorry_server else None,
        )  # fmt: skip
        if len({(server.address, server.port) for server in servers}) < len(servers):
            most, _ = Counter(str(server) for server in servers).most_common(1)[0]
            raise InvalidError(f"virtual service {service.title} has the real server {most} more than once")
        return service


class ServicePatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The fields of a virtual service to change; null is the default again (RFC 7396)."""

    scheduler: str | None | UnsetType = UNSET
    flags: list[Flag] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    device: NoDevice | None | UnsetType = UNSET
    persistent: Persistent | None | UnsetType = UNSET
    netmask: str | None | UnsetType = UNSET
    engine: str | None | UnsetType = UNSET
    ops: bool | None | UnsetType = UNSET
    table: Annotated[int, Meta(ge=0)] | None | UnsetType = UNSET
    match: list[MatchBody] | None | UnsetType = UNSET
    health: HealthBody | None | UnsetType = UNSET
    sorry_server: ServerBody | None | UnsetType = UNSET

    def apply(self, service: Service) -> Service:
        """Return *service* with these fields; raises `InvalidError`."""
        changes = _given(self, Service)
        if "flags" in changes:
            changes["flags"] = frozenset(changes["flags"])
        if "match" in changes:
            changes["match"] = tuple([match.match() for match in changes["match"]])
        if changes.get("health"):
            changes["health"] = changes["health"].health()
        if changes.get("sorry_server"):
            changes["sorry_server"] = changes["sorry_server"].server(service.owner)
        if changes.get("scheduler", "mh") != "mh":
            changes.setdefault("table", 0)  # which no other scheduler can have
        return msgspec.structs.replace(service, **changes)


class ServerPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The fields of a real server to change; null is the default again (RFC 7396)."""

    forward: Forward | None | UnsetType = UNSET
    weight: Weight | None | UnsetType = UNSET
    upper: Threshold | None | UnsetType = UNSET
    lower: Threshold | None | UnsetType = UNSET
    tunnel_port: Port | None | UnsetType = UNSET
    tunnel_checksum: Checksum | None | UnsetType = UNSET
    health: ServerHealthBody | None | UnsetType = UNSET

    def apply(self, server: Server) -> Server:
        """Return *server* with these fields; raises `InvalidError`."""
        changes = _given(self, Server)
        if changes.get("health"):
            changes["health"] = changes["health"].health()
        return msgspec.structs.replace(server, **changes)


def _given(patch: ServicePatch | ServerPatch, kind: type[Service | Server]) -> dict[str, Any]:
    """Return the fields that a *patch* sets, null as the default that the field has in *kind*."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    given = {name: getattr(patch, name) for name in patch.__struct_fields__}
    return {name: defaults[name] if value is None else value for name, value in given.items() if value is not UNSET}


class AddService(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="add-service"):
    """Add a service, as `POST /v1/services`."""

    service: ServiceBody


class EditService(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="edit-service"):
    """Change some fields of a service, as `PATCH /v1/services/{id}`."""

    id: str
    changes: ServicePatch


class DeleteService(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="delete-service"):
    """Delete a service, as `DELETE /v1/services/{id}`."""

    id: str


class AddServer(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False, tag_field="do", tag="add-server"):
    """Add a real server to a service, as `POST /v1/services/{id}/servers`."""

    id: str
    server: ServerBody


class EditServer(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False, tag_field="do", tag="edit-server"):
    """Change some fields of a real server, as `PATCH /v1/services/{id}/servers/{server}`."""

    id: str
    server: str
    changes: ServerPatch


class DeleteServer(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False, tag_field="do", tag="delete-server"
):
    """Delete a real server, as `DELETE /v1/services/{id}/servers/{server}`."""

    id: str
    server: str


class Flush(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag_field="do", tag="flush"):
    """Delete all that belongs to the owner, as `DELETE /v1/services`."""


Edit = AddService | EditService | DeleteService | AddServer | EditServer | DeleteServer | Flush


class EditsBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Edits in their order: a later one sees what an earlier one did.  `do` says what each does."""

    edits: list[Edit]


class ConfigBody(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The whole of what one owner wants.  `interfaces` null leaves them to xlvs; left out, they stay as they are.

    So do timeouts (seconds) and sysctls that are not named.
    """

    services: list[ServiceBody]
    interfaces: dict[Device, Hook] | None | UnsetType = UNSET
    timeouts: dict[Literal["tcp", "tcpfin", "udp"], Timeout] = {}
    sysctls: dict[str, str] = {}


def read_endpoint(text: str) -> tuple[Address, int]:
    """Return address and port of ``10.0.0.1:80`` or ``[2001:db8::1]:80``; raises `InvalidError`."""
    address, _, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if bare == address and ":" in bare or not (port.isascii() and port.isdecimal()) or int(port[:6]) > 65535:
        raise InvalidError(f"{text!r} names no real server; write one as 10.0.0.1:80")
    return Address.parse(bare), int(port)
