"""A virtual service: what clients connect to, and who answers."""

from __future__ import annotations

import contextlib
import re

import msgspec

from xlvs.errors import InvalidError, UnknownEngineError
from xlvs.model.address import MAPPED, Address, endpoint
from xlvs.model.health import Health
from xlvs.model.match import Match
from xlvs.model.server import CLI, Server

PROTOCOLS = ("tcp", "udp", "sctp")

MARK = "fwm"
"""In place of the protocol of a service that is known by a firewall mark."""

ENGINES = ("", "sip")
"""Persistence engines; without one the client's address tells clients apart."""

MAX_PERSISTENT = 86400 * 31
"""Seconds: 31 days (ipvsadm.c)."""

SCHED_FLAGS = ("flag-1", "flag-2", "flag-3")
"""The kernel's scheduler flags; ``sh-fallback``/``mh-fallback`` are flag-1, ``sh-port``/``mh-port`` flag-2."""

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
_MARK_ID = re.compile(rf"{MARK}(6?):(\d{{1,10}})", re.ASCII)
_ID = re.compile(r"(\w+):(?:\[([^]]+)\]|([^:]+)):(\d{1,5})", re.ASCII)


class ServiceKey(msgspec.Struct, frozen=True, gc=False):
    """Protocol, virtual address and port, or a firewall mark: what a packet is matched by.  Raises `InvalidError`.

    Port 0 is every port that no other service has.  A mark is written as IPVS writes it where it needs an address
    (``ip_vs_conn_fill_param_persist``): its four bytes are the last ones of *address*, the port is 0.
    """

    protocol: str
    address: Address
    port: int

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            self._check_mark()
        elif not 0 <= self.port <= 65535:
            raise InvalidError(f"virtual service port {self.port} is outside 0..65535")

    def _check_mark(self) -> None:
        if self.protocol != MARK:
            raise InvalidError(f"unknown protocol {self.protocol!r} (one of {', '.join((*PROTOCOLS, MARK))})")
        if self.port or not self.mark or self.address[:12] not in (MAPPED, bytes(12)):
            raise InvalidError(f"{self.address} port {self.port} is no firewall mark")

    @classmethod
    def of_mark(cls, mark: int, version: int = 4) -> ServiceKey:
        """Return the key of the firewall *mark* for packets of IPv4 or IPv6; raises `InvalidError`."""
        if not 1 <= mark <= 0xFFFFFFFF:
            raise InvalidError(f"firewall mark {mark} is outside 1..4294967295")
        return cls(MARK, Address((MAPPED if version == 4 else bytes(12)) + mark.to_bytes(4)), 0)

    @property
    def mark(self) -> int:
        """The firewall mark; 0: it is not one."""
        return int.from_bytes(self.address[12:]) if self.protocol == MARK else 0

    @property
    def version(self) -> int:
        """4 or 6: of which family the packets are."""
        return self.address.version

    def __str__(self) -> str:
        if self.protocol == MARK:
            return f"firewall mark {self.mark}{' (IPv6)' if self.version == 6 else ''}"
        return f"{endpoint(self.address, self.port)}/{self.protocol}"

    @property
    def id(self) -> str:
        """The same in one word that fits into a URL: ``tcp:192.0.2.1:80``, ``udp:[2001:db8::1]:53``, ``fwm6:5``."""
        if self.protocol == MARK:
            return f"{MARK}{'6' if self.version == 6 else ''}:{self.mark}"
        return f"{self.protocol}:{endpoint(self.address, self.port)}"

    @classmethod
    def parse(cls, text: str) -> ServiceKey:
        """Return the key whose `id` is *text*; raises `InvalidError`."""
        if marked := _MARK_ID.fullmatch(text):
            return cls.of_mark(int(marked[2]), 6 if marked[1] else 4)
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
    on itself, empty: none.  *owner* as in `Server`.  *persistent* is for how many
    seconds after its last connection a client keeps its server, 0: not at all;
    *netmask* says whose clients are one, of IPv4 ``255.255.255.0``, of IPv6 the
    length of a prefix, empty: each by itself; *engine* is one of `ENGINES`.  *ops*
    is one-packet scheduling.  *table* is the size of the table of mh, 0: as in the
    kernel.  *match* says of a service by firewall mark which packets get the mark
    from xlvs; empty: Netfilter marks them.  *health* says which servers may be
    used, None: all; *sorry_server* answers when they are too few.  Raises `InvalidError`.
    """

    key: ServiceKey = msgspec.field(name="listen")
    scheduler: str = "wlc"
    flags: frozenset[str] = frozenset()
    servers: tuple[Server, ...] = ()
    name: str = ""
    device: str = ""
    owner: str = CLI
    persistent: int = 0
    netmask: str = ""
    engine: str = ""
    ops: bool = False
    table: int = 0
    match: tuple[Match, ...] = ()
    health: Health | None = None
    sorry_server: Server | None = None

    def __post_init__(self) -> None:
        if self.name and not _NAME.fullmatch(self.name):
            raise InvalidError(
                f"service name {self.name!r}: a name has letters, digits, '.', '-' and '_' only, "
                "begins and ends with a letter or digit, and has 253 characters at most"
            )
        if self.persistent or self.netmask or self.engine:
            self._check_persistence()
        if self.match:
            self._check_match()
        if self.device and self.key.protocol == MARK:
            raise InvalidError(f"{self.title} has no virtual address to be put on {self.device}; leave the device out")
        if self.ops and self.key.protocol not in ("udp", MARK):
            raise InvalidError(f"one-packet scheduling is for udp and firewall marks only, not for {self.title}")
        if not self.key.port and not self.persistent and self.key.protocol != MARK:
            raise InvalidError(f"virtual service {self.title} takes every port, so it must be persistent")

    def _check_persistence(self) -> None:
        if not 0 <= self.persistent <= MAX_PERSISTENT:
            raise InvalidError(f"persistence timeout {self.persistent} is outside 0..{MAX_PERSISTENT} seconds")
        if self.engine not in ENGINES:
            raise UnknownEngineError(
                f"unknown persistence engine {self.engine!r} (one of {', '.join(filter(None, ENGINES))})"
            )
        if self.netmask:
            self._read_mask()

    def _check_match(self) -> None:
        if self.key.protocol != MARK:
            raise InvalidError(f"{self.title} has an address; match is for services by firewall mark")
        for match in self.match:
            if match.address.version != self.key.version:
                raise InvalidError(f"{match.network} is no IPv{self.key.version}, of which {self.title} is")

    @property
    def mask(self) -> int:
        """The netmask as a number: of IPv4 its four bytes as they lie in a packet, of IPv6 the length of the prefix."""
        return self._read_mask()

    def _read_mask(self) -> int:
        if self.key.version == 4:
            if not self.netmask:
                return 0xFFFFFFFF
            with contextlib.suppress(InvalidError):
                found = Address.parse(self.netmask)
                if found.version == 4:
                    return int.from_bytes(found.packed, "little")
        elif not self.netmask:
            return 128
        elif self.netmask.isdecimal() and 1 <= int(self.netmask) <= 128:
            return int(self.netmask)
        form = "one as 255.255.255.0" if self.key.version == 4 else "the length of a prefix, 1 to 128"
        raise InvalidError(f"netmask {self.netmask!r} of {self.title} is none of IPv{self.key.version}; write {form}")

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
