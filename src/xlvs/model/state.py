"""The desired state: every virtual service an operator asked for, and the edits of ipvsadm on it.

Pure: each edit returns a new `State` or raises, so a refused edit changes nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from xlvs.errors import (
    InvalidError,
    NoSuchServerError,
    NoSuchServiceError,
    OwnedError,
    ServerExistsError,
    ServiceExistsError,
)
from xlvs.model.address import Address, endpoint
from xlvs.model.server import TUNNELS, Server
from xlvs.model.service import Service, ServiceKey
from xlvs.model.sysctls import SYSCTLS

DEFAULT_TIMEOUTS = {"tcp": 900, "tcpfin": 120, "udp": 300}
"""Seconds; what ``ipvsadm --set`` can change (ip_vs_proto_tcp.c, ip_vs_proto_udp.c)."""

MAX_TIMEOUT = 31 * 24 * 60 * 60
"""Seconds; ip_vs_ctl.c, IP_VS_TIMEOUT_MAX."""


class State(msgspec.Struct, frozen=True):
    """All virtual services by key, in the order they were added.

    *generation* counts the changes.  *interfaces* says which interfaces to
    work on and how: ``{"eth0": "xdp", ...}``, None to leave that to xlvs.
    *sysctls* are those that were written, by name (`xlvs.model.sysctls`).
    """

    services: dict[ServiceKey, Service] = msgspec.field(default_factory=dict)
    timeouts: dict[str, int] = msgspec.field(default_factory=lambda: dict(DEFAULT_TIMEOUTS))
    interfaces: dict[str, str] | None = None
    generation: int = 0
    sysctls: dict[str, str] = {}

    def with_sysctls(self, written: dict[str, str]) -> State:
        """Return the state with these switches as they are *written*; those at their default are not kept."""
        merged = {**self.sysctls, **written}
        return replace(self, sysctls={n: text for n, text in sorted(merged.items()) if text != SYSCTLS[n].default})

    def service(self, key: ServiceKey) -> Service:
        """Return the service of this *key*; raises `NoSuchServiceError`."""
        try:
            return self.services[key]
        except KeyError:
            raise NoSuchServiceError(f"there is no virtual service {key}") from None

    def find(self, word: str) -> Service:
        """Return the service of this name or id; raises `NoSuchServiceError`."""
        for service in self.services.values():
            if service.name == word:
                return service
        if ":" not in word:
            raise NoSuchServiceError(f"there is no virtual service {word!r}")
        return self.service(ServiceKey.parse(word))

    def add_service(self, service: Service) -> State:
        """Return the state with *service* added; raises `ServiceExistsError`."""
        if service.key in self.services:
            raise ServiceExistsError(f"virtual service {service.key} exists already")
        for server in service.servers:
            check_family(service.key, server)
        return self._with(service)

    def edit_service(self, key: ServiceKey, **changes: Any) -> State:
        """Return the state with other fields of the service *key* (all but key and servers)."""
        return self._with(replace(self.service(key), **changes))

    def delete_service(self, key: ServiceKey, *, owner: str | None = None) -> State:
        """Return the state without the service *key*; raises `OwnedError` unless it is *owner*'s (None: whoever's)."""
        service = self.service(key)
        check_owner(owner, service.owner, f"virtual service {key}")
        for server in service.servers:
            check_owner(owner, server.owner, f"real server {server} of virtual service {key}")
        return replace(self, services={k: s for k, s in self.services.items() if k != key})

    def add_server(self, key: ServiceKey, server: Server) -> State:
        """Return the state with *server* added to the service *key*."""
        service = self.service(key)
        check_family(key, server)
        if service.server(server.key):
            raise ServerExistsError(f"virtual service {key} has the real server {server} already")
        return self._with(service.with_servers((*service.servers, server)))

    def edit_server(self, key: ServiceKey, server: Server) -> State:
        """Return the state with the server of the same address and port replaced by *server*, its owner kept."""
        service = self.service(key)
        check_family(key, server)
        have = service.server(server.key)
        if have is None:
            raise NoSuchServerError(f"virtual service {key} has no real server {server}")
        server = replace(server, owner=have.owner)
        return self._with(service.with_servers(tuple(server if s is have else s for s in service.servers)))

    def delete_server(self, key: ServiceKey, server_key: tuple[Address, int], *, owner: str | None = None) -> State:
        """Return the state without that real server; raises `OwnedError` as `delete_service`."""
        service = self.service(key)
        have = service.server(server_key)
        if have is None:
            raise NoSuchServerError(f"virtual service {key} has no real server {endpoint(*server_key)}")
        check_owner(owner, have.owner, f"real server {have} of virtual service {key}")
        return self._with(service.with_servers(tuple(s for s in service.servers if s is not have)))

    def _with(self, service: Service) -> State:
        return replace(self, services={**self.services, service.key: service})


def check_family(key: ServiceKey, server: Server) -> None:
    """Refuse a server that cannot carry the packets of service *key*; raises `InvalidError`."""
    if server.forward not in TUNNELS and server.address.version != key.version:
        raise InvalidError(
            f"{server.forward} cannot carry IPv{key.version} packets of {key} to the "
            f"IPv{server.address.version} server {server}; only {', '.join(TUNNELS)} can"
        )


def check_owner(asking: str | None, owner: str, what: str) -> None:
    """Refuse unless *what* belongs to who is *asking* (None: to whomever it may); raises `OwnedError`."""
    if asking is not None and asking != owner:
        raise OwnedError(f"{what} belongs to {owner}, not to {asking}; remove it there, or ask with force")
