"""What the kernel knows about interfaces, addresses, routes and neighbours, asked over one blocking socket.

The message formats are pyroute2's; the socket is our own, because pyroute2's
blocking calls cannot be used inside a running asyncio loop.  A question takes
some 30 microseconds, so nothing is gained by waiting for the answer elsewhere.
The sockets belong to the network namespace the thread is in when they are made.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWNEIGH,
)
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.marshal import MarshalRtnl
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from xlvs.daemon.host import netdev
from xlvs.model.server import Address

_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _MULTI, _ACK, _DUMP, _CREATE = 0x1, 0x2, 0x4, 0x300, 0x400
_NTF_USE = 0x1
_EXT_MASK_SKIP_STATS = 0x8
_RECEIVE = 1 << 18
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400  # LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE

ROUTE_UNICAST, ROUTE_LOCAL = 1, 2


@dataclass(frozen=True, slots=True)
class Link:
    """One interface.  *kind* is rtnetlink's (``veth``, ``bridge``…), empty for hardware; *bus* is its hardware bus."""

    index: int
    name: str
    mac: bytes = bytes(6)
    kind: str = ""
    master: int = 0
    bus: str = ""
    loopback: bool = False
    xdp_features: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """How packets reach an address: *gateway* None means it is on the link."""

    type: int
    ifindex: int
    gateway: Address | None
    source: Address | None


class Netlink:
    """Asks rtnetlink.  Raises `OSError` when the kernel refuses."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.settimeout(5)
        self._marshal = MarshalRtnl()
        self._sequence = 0
        self._netdev = netdev.Netdev()

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._netdev.close()

    def links(self) -> dict[int, Link]:
        """Return every interface by its index."""
        message = ifinfmsg()
        message["attrs"] = [("IFLA_EXT_MASK", _EXT_MASK_SKIP_STATS)]
        return {link["index"]: self._link(link) for link in self._ask(message, RTM_GETLINK, _DUMP)}

    def loopback(self) -> int:
        """Return the index of the loopback interface, 0 if there is none."""
        return next((link.index for link in self.links().values() if link.loopback), 0)

    def _link(self, message: Any) -> Link:
        info = message.get_attr("IFLA_LINKINFO")
        mac = message.get_attr("IFLA_ADDRESS") or ""
        raw = bytes.fromhex(mac.replace(":", ""))
        return Link(
            message["index"],
            message.get_attr("IFLA_IFNAME"),
            raw if len(raw) == 6 else bytes(6),
            (info.get_attr("IFLA_INFO_KIND") or "") if info else "",
            message.get_attr("IFLA_MASTER") or 0,
            message.get_attr("IFLA_PARENT_DEV_BUS_NAME") or "",
            bool(message["flags"] & 0x8),  # IFF_LOOPBACK
            self._netdev.xdp_features(message["index"]),
        )

    def addresses(self) -> list[tuple[int, Address, int]]:
        """Return every address of this network namespace: interface, address, scope (0: global)."""
        found = []
        for message in self._ask(ifaddrmsg(), RTM_GETADDR, _DUMP):
            text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            found.append((message["index"], ipaddress.ip_address(text), message["scope"]))
        return found

    def route(self, address: Address) -> Route | None:
        """Return how this host reaches *address*, or None if it does not."""
        message = rtmsg()
        message["family"] = socket.AF_INET if address.version == 4 else socket.AF_INET6
        message["dst_len"] = address.max_prefixlen
        message["attrs"] = [("RTA_DST", str(address))]
        try:
            answer = next(iter(self._ask(message, RTM_GETROUTE, 0)))
        except (OSError, StopIteration):
            return None
        gateway, via = answer.get_attr("RTA_GATEWAY"), answer.get_attr("RTA_VIA")
        if via:
            gateway = via["addr"]
        source = answer.get_attr("RTA_PREFSRC")
        return Route(
            answer["type"],
            answer.get_attr("RTA_OIF") or 0,
            ipaddress.ip_address(gateway) if gateway else None,
            ipaddress.ip_address(source) if source else None,
        )

    def probe(self, address: Address, ifindex: int) -> None:
        """Make the kernel resolve, or refresh, the neighbour *address*, as if a packet were sent to it."""
        message = ndmsg()
        message["family"] = socket.AF_INET if address.version == 4 else socket.AF_INET6
        message["ifindex"] = ifindex
        message["flags"] = _NTF_USE
        message["attrs"] = [("NDA_DST", str(address))]
        for _ in self._ask(message, RTM_NEWNEIGH, _CREATE | _ACK):
            pass

    def _ask(self, message: Any, kind: int, flags: int) -> Iterator[Any]:
        self._sequence += 1
        header = message["header"]
        header["type"], header["flags"], header["sequence_number"] = kind, flags | _REQUEST, self._sequence
        message.encode()
        self._socket.send(message.data)
        answers: list[Any] = []
        while True:
            for answer in self._marshal.parse(self._socket.recv(_RECEIVE)):
                header = answer["header"]
                if header["sequence_number"] != self._sequence:
                    continue
                if header["type"] == _NLMSG_ERROR:
                    if header["error"]:
                        raise _as_os_error(header["error"])
                    return iter(answers)
                if header["type"] == _NLMSG_DONE:
                    return iter(answers)
                answers.append(answer)
                if not header["flags"] & _MULTI and not flags & _ACK:
                    return iter(answers)


class Monitor:
    """Tells that interfaces, addresses or routes changed; what changed is asked anew."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, _GROUPS))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor that becomes readable on a change."""
        return self._socket.fileno()

    def drain(self) -> bool:
        """Forget what is queued; return whether there was anything."""
        heard = False
        while True:
            try:
                self._socket.recv(_RECEIVE)
            except BlockingIOError:
                return heard
            except OSError:  # ENOBUFS: more changes than the queue holds, so there were some
                heard = True
            heard = True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _as_os_error(err: Any) -> OSError:
    return OSError(err.code, str(err)) if isinstance(err, NetlinkError) else OSError(str(err))
