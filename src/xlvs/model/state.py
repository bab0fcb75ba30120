"""The desired state: every virtual service an operator asked for, and the edits of ipvsadm on it.

Pure: each edit returns a new `State` or raises, so a refused edit changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from xlvs.errors import (
    InvalidError,
    NoSuchServerError,
    NoSuchServiceError,
    ServerExistsError,
    ServiceExistsError,
)
from xlvs.model.server import Address, Server
from xlvs.model.service import Service, ServiceKey

DEFAULT_TIMEOUTS = {"tcp": 900, "tcpfin": 120, "udp": 300}
"""Seconds; what ``ipvsadm --set`` can change (ip_vs_proto_tcp.c, ip_vs_proto_udp.c)."""


@dataclass(frozen=True, slots=True)
class State:
    """All virtual services by key, in the order they were added."""

    services: dict[ServiceKey, Service] = field(default_factory=dict)
    timeouts: dict[str, int] = field(default_factory=lambda: dict(DEFAULT_TIMEOUTS))

    def service(self, key: ServiceKey) -> Service:
        """Return the service of this *key*; raises `NoSuchServiceError`."""
        try:
            return self.services[key]
        except KeyError:
            raise NoSuchServiceError(f"there is no virtual service {key}") from None

    def add_service(self, service: Service) -> State:
        """Return the state with *service* added; raises `ServiceExistsError`."""
        if service.key in self.services:
            raise ServiceExistsError(f"virtual service {service.key} exists already")
        return self._with(service)

    def edit_service(self, key: ServiceKey, *, scheduler: str, flags: frozenset[str]) -> State:
        """Return the state with another scheduler for *key*; its servers stay."""
        return self._with(replace(self.service(key), scheduler=scheduler, flags=flags))

    def delete_service(self, key: ServiceKey) -> State:
        """Return the state without the service *key*."""
        self.service(key)
        return replace(self, services={k: s for k, s in self.services.items() if k != key})

    def add_server(self, key: ServiceKey, server: Server) -> State:
        """Return the state with *server* added to the service *key*."""
        service = self.service(key)
        _check(service, server)
        if service.server(server.key):
            raise ServerExistsError(f"virtual service {key} has the real server {_name(server.key)} already")
        return self._with(service.with_servers((*service.servers, server)))

    def edit_server(self, key: ServiceKey, server: Server) -> State:
        """Return the state with the server of the same address and port replaced by *server*."""
        service = self.service(key)
        _check(service, server)
        if not service.server(server.key):
            raise NoSuchServerError(f"virtual service {key} has no real server {_name(server.key)}")
        return self._with(service.with_servers(tuple(server if s.key == server.key else s for s in service.servers)))

    def delete_server(self, key: ServiceKey, server_key: tuple[Address, int]) -> State:
        """Return the state without that real server."""
        service = self.service(key)
        if not service.server(server_key):
            raise NoSuchServerError(f"virtual service {key} has no real server {_name(server_key)}")
        return self._with(service.with_servers(tuple(s for s in service.servers if s.key != server_key)))

    def _with(self, service: Service) -> State:
        return replace(self, services={**self.services, service.key: service})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form that the daemon keeps on disk."""
        return {"services": [s.to_json() for s in self.services.values()], "timeouts": self.timeouts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> State:
        """Build a state from its JSON form; raises `InvalidError` on nonsense."""
        services = [Service.from_json(s) for s in data.get("services", ())]
        return cls({s.key: s for s in services}, {**DEFAULT_TIMEOUTS, **data.get("timeouts", {})})


def _check(service: Service, server: Server) -> None:
    if server.forward != "ipip" and server.address.version != service.key.address.version:
        raise InvalidError("Different address family is allowed only for tunneling servers")


def _name(key: tuple[Address, int]) -> str:
    address, port = key
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
