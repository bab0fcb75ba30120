"""A real server: an address that can answer for a virtual service."""

from __future__ import annotations

import msgspec

from xlvs.errors import InvalidError, ThresholdsError
from xlvs.model.address import Address, endpoint
from xlvs.model.health import ServerHealth

FORWARDS = ("nat", "route", "ipip", "gue", "gre")
"""The forwarding methods, as operators write them: masquerading, direct routing, and three ways of tunnelling."""

TUNNELS = ("ipip", "gue", "gre")
"""The methods that wrap packets whole, whose servers may be of the other address family."""

CHECKSUMS = {"ipip": ("none",), "gue": ("none", "full", "remote"), "gre": ("none", "full")}
"""What each tunnel can do about a checksum in its outer header; *remote* leaves the inner one to the server."""

MAX_WEIGHT = 2**31 - 1
"""As in IPVS (``ipvsadm -w``)."""

CLI = "cli"
"""The owner of what ``xlvsadm`` made."""


class Server(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One real server of one virtual service.

    *weight* is 0..2^31 - 1; 0 takes no new flow and keeps the old ones.  *upper*
    and *lower* are connection thresholds (0: none).  *owner* is the door it
    came in by: only that one may delete it unasked.  *tunnel_port* is the UDP
    port of gue, *tunnel_checksum* one of `CHECKSUMS`.  *health* is what it has instead of its service.  Raises
    `InvalidError`.
    """

    address: Address
    port: int
    forward: str = "route"
    weight: int = 1
    upper: int = 0
    lower: int = 0
    owner: str = CLI
    tunnel_port: int = 0
    tunnel_checksum: str = "none"
    health: ServerHealth | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.port <= 65535 and 0 <= self.weight <= MAX_WEIGHT and self.forward in FORWARDS):
            raise InvalidError(self._complaint())
        if self.upper or self.lower:
            self._check_thresholds()
        if self.forward == "gue" or self.tunnel_port or self.tunnel_checksum != "none":
            self._check_tunnel()

    def _complaint(self) -> str:
        if not 0 <= self.port <= 65535:
            return f"real server port {self.port} is outside 0..65535"
        if self.forward not in FORWARDS:
            return f"unknown forwarding method {self.forward!r} (one of {', '.join(FORWARDS)})"
        return f"weight {self.weight} is outside 0..{MAX_WEIGHT}"

    def _check_thresholds(self) -> None:
        if self.upper < 0 or not 0 <= self.lower <= self.upper:
            raise ThresholdsError(f"thresholds upper {self.upper} and lower {self.lower} contradict each other")

    def _check_tunnel(self) -> None:
        if self.forward != "gue" and self.tunnel_port:
            raise InvalidError(f"the forwarding method {self.forward} has no tunnel port; only gue has")
        if self.forward == "gue" and not 1 <= self.tunnel_port <= 65535:
            raise InvalidError("the forwarding method gue needs the UDP port of the tunnel, in 1..65535")
        known = CHECKSUMS.get(self.forward, ("none",))
        if self.tunnel_checksum not in known:
            raise InvalidError(
                f"the forwarding method {self.forward} cannot do the tunnel checksum {self.tunnel_checksum!r} "
                f"(one of {', '.join(known)})"
            )

    @property
    def key(self) -> tuple[Address, int]:
        """What tells servers of one service apart: address and port."""
        return self.address, self.port

    def __str__(self) -> str:
        return endpoint(self.address, self.port)
