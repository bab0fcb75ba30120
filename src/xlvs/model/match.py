"""Which packets xlvs itself gives a firewall mark: by where they go to, their protocol and port."""

from __future__ import annotations

import re

import msgspec

from xlvs.errors import InvalidError
from xlvs.model.address import Address

PROTOCOLS = ("tcp", "udp")

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)


class Match(msgspec.Struct, frozen=True, omit_defaults=True):
    """Packets to *address*, or with a shorter *length* to its network, at the ports *low* to *high*.

    *protocol* is one of `PROTOCOLS`, empty: each of them.  *length* counts bits as the family of *address* does.
    Raises `InvalidError`.
    """

    address: Address
    length: int
    protocol: str = ""
    low: int = 0
    high: int = 65535

    def __post_init__(self) -> None:
        if self.protocol and self.protocol not in PROTOCOLS:
            raise InvalidError(f"protocol {self.protocol!r} of a match is none of {', '.join(PROTOCOLS)}")
        if not 0 <= self.length <= self.bits:
            raise InvalidError(f"{self.network}: an IPv{self.address.version} prefix has 0 to {self.bits} bits")
        if int.from_bytes(self.address.packed) & ((1 << self.bits - self.length) - 1):
            raise InvalidError(f"{self.network} is no network: bits behind the first {self.length} are set")
        if not 0 <= self.low <= self.high <= 65535:
            raise InvalidError(f"ports {self.ports} are no range within 0-65535")

    @classmethod
    def parse(cls, network: str, protocol: str = "", ports: str = "") -> Match:
        """Return the match of ``192.0.2.0/24``, ``tcp`` and ``8000-8099``; raises `InvalidError`."""
        text, slash, length = network.partition("/")
        address = Address.parse(text)
        bits = 8 * len(address.packed)
        if slash and not (length.isascii() and length.isdecimal() and len(length) < 4):
            raise InvalidError(f"{network!r} is no address or network; write one as 192.0.2.0/24")
        found = _PORTS.fullmatch(ports) if ports else None
        if ports and found is None:
            raise InvalidError(f"{ports!r} is no port or range of ports; write one as 8000-8099")
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 65535)
        return cls(address, int(length) if slash else bits, protocol, low, high)

    @property
    def bits(self) -> int:
        """How many bits an address of its family has."""
        return 8 * len(self.address.packed)

    @property
    def network(self) -> str:
        """Address and length of the prefix, without that of a single address."""
        return str(self.address) if self.length == self.bits else f"{self.address}/{self.length}"

    @property
    def ports(self) -> str:
        """A port, or a range, empty: all."""
        if (self.low, self.high) == (0, 65535):
            return ""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    def __str__(self) -> str:
        return " ".join(filter(None, (self.network, self.protocol, self.ports)))
