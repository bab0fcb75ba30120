"""A real server: an address that can answer for a virtual service."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from xlvs.errors import InvalidError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

FORWARDS = ("nat", "route", "ipip")
"""The forwarding methods, as operators write them: masquerading, direct routing, tunnelling."""

MAX_WEIGHT = 65535


@dataclass(frozen=True, slots=True)
class Server:
    """One real server of one virtual service.

    *weight* is 0..65535; 0 takes no new flow and keeps the old ones.  *upper*
    and *lower* are connection thresholds (0: none).  Raises `InvalidError`.
    """

    address: Address
    port: int
    forward: str = "route"
    weight: int = 1
    upper: int = 0
    lower: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise InvalidError(f"real server port {self.port} is outside 0..65535")
        if self.forward not in FORWARDS:
            raise InvalidError(f"unknown forwarding method {self.forward!r} (one of {', '.join(FORWARDS)})")
        if not 0 <= self.weight <= MAX_WEIGHT:
            raise InvalidError(f"weight {self.weight} is outside 0..{MAX_WEIGHT}")

    @property
    def key(self) -> tuple[Address, int]:
        """What tells servers of one service apart: address and port."""
        return self.address, self.port

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: plain strings and numbers."""
        return {
            "address": str(self.address),
            "port": self.port,
            "forward": self.forward,
            "weight": self.weight,
            "upper": self.upper,
            "lower": self.lower,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Server:
        """Build a server from its JSON form; raises `InvalidError` on nonsense."""
        try:
            return cls(**{**data, "address": ipaddress.ip_address(data["address"])})
        except (KeyError, TypeError, ValueError) as err:
            raise InvalidError(f"not a real server: {err}") from err
