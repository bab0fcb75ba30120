"""A virtual service: what clients connect to, and who answers."""

from __future__ import annotations

import re

import msgspec

from xlvs.errors import InvalidError
from xlvs.model.address import Address, endpoint
from xlvs.model.server import CLI, Server

PROTOCOLS = ("tcp", "udp")

SCHED_FLAGS = ("flag-1", "flag-2", "flag-3")
"""The kernel's scheduler flags; ``sh-fallback``/``mh-fallback`` are flag-1, ``sh-port``/``mh-port`` flag-2."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_ID = re.compile(r"(\w+):(?:\[([^]]+)\]|([^:]+)):(\d{1,5})", re.ASCII)


class ServiceKey(msgspec.Struct, frozen=True, gc=False):
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
        return f"{endpoint(self.address, self.port)}/{self.protocol}"

    @property
    def id(self) -> str:
        """The same in one word that fits into a URL: ``tcp:192.0.2.1:80``, ``udp:[2001:db8::1]:53``."""
        return f"{self.protocol}:{endpoint(self.address, self.port)}"

    @classmethod
    def parse(cls, text: str) -> ServiceKey:
        """Return the key whose `id` is *text*; raises `InvalidError`."""
        match = _ID.fullmatch(text)
        if match is None:
            raise InvalidError(f"{text!r} names no virtual service; write one as tcp:192.0.2.1:80")
        protocol, v6, v4, port = match.groups()
        return cls(protocol, Address.parse(v6 or v4), int(port))


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """One virtual service with its real servers.

    *servers* are in the order in which they were added, oldest first; the
    kernel of IPVS walks them newest first, and so do the schedulers.
    *flags* are names out of `SCHED_FLAGS`.  *name* is the operator's, unique
    unless empty.  *device* is the interface that xlvs puts the virtual address
    on itself, empty: none.  *owner* as in `Server`.
    """

    key: ServiceKey = msgspec.field(name="listen")
    scheduler: str = "wlc"
    flags: frozenset[str] = frozenset()
    servers: tuple[Server, ...] = ()
    name: str = ""
    device: str = ""
    owner: str = CLI

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise InvalidError(f"service name {self.name!r} may have letters, digits, '.', '-' and '_' only")

    @property
    def title(self) -> str:
        """What to call it in a sentence: its name, if it has one, and what it listens on."""
        return f"{self.name} ({self.key})" if self.name else str(self.key)

    def server(self, key: tuple[Address, int]) -> Server | None:
        """Return the server with this (address, port), or None."""
        return next((s for s in self.servers if s.key == key), None)

    def with_servers(self, servers: tuple[Server, ...]) -> Service:
        """Return the same service with other servers."""
        return msgspec.structs.replace(self, servers=servers)
