"""A virtual service: what clients connect to, and who answers."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import Any

from xlvs.errors import InvalidError
from xlvs.model.server import Address, Server

PROTOCOLS = ("tcp", "udp")

SCHED_FLAGS = ("flag-1", "flag-2", "flag-3")
"""The kernel's scheduler flags; ``sh-fallback``/``mh-fallback`` are flag-1, ``sh-port``/``mh-port`` flag-2."""


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """Protocol, virtual address and port: what a packet is matched by.  Raises `InvalidError`."""

    protocol: str
    address: Address
    port: int

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise InvalidError(f"unknown protocol {self.protocol!r} (one of {', '.join(PROTOCOLS)})")
        if not 1 <= self.port <= 65535:
            raise InvalidError(f"virtual service port {self.port} is outside 1..65535")

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}/{self.protocol}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: plain strings and numbers."""
        return {"protocol": self.protocol, "address": str(self.address), "port": self.port}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ServiceKey:
        """Build a key from its JSON form; raises `InvalidError` on nonsense."""
        try:
            return cls(data["protocol"], ipaddress.ip_address(data["address"]), int(data["port"]))
        except (KeyError, TypeError, ValueError) as err:
            raise InvalidError(f"not a virtual service: {err}") from err


@dataclass(frozen=True, slots=True)
class Service:
    """One virtual service with its real servers.

    *servers* are in the order in which they were added, oldest first; the
    kernel of IPVS walks them newest first, and so do the schedulers.
    *flags* are names out of `SCHED_FLAGS`.
    """

    key: ServiceKey
    scheduler: str = "wlc"
    flags: frozenset[str] = frozenset()
    servers: tuple[Server, ...] = field(default=())

    def server(self, key: tuple[Address, int]) -> Server | None:
        """Return the server with this (address, port), or None."""
        return next((s for s in self.servers if s.key == key), None)

    def with_servers(self, servers: tuple[Server, ...]) -> Service:
        """Return the same service with other servers."""
        return replace(self, servers=servers)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: plain strings, numbers and lists."""
        return {
            **self.key.to_json(),
            "scheduler": self.scheduler,
            "flags": sorted(self.flags),
            "servers": [s.to_json() for s in self.servers],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Service:
        """Build a service from its JSON form; raises `InvalidError` on nonsense."""
        return cls(
            ServiceKey.from_json(data),
            str(data.get("scheduler", "wlc")),
            frozenset(data.get("flags", ())),
            tuple(Server.from_json(s) for s in data.get("servers", ())),
        )
