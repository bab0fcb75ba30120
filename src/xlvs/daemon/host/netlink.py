"""What the kernel knows about interfaces, addresses, routes and neighbours.

The messages are those of include/uapi/linux/rtnetlink.h, if_link.h, if_addr.h,
neighbour.h, nexthop.h and fib_rules.h.  The sockets belong to the network
namespace the thread is in when they are made, and `prefixes` makes new ones.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from xlvs.daemon.host import netdev, rtnetlink
from xlvs.daemon.host.regions import Prefix, prefix
from xlvs.daemon.host.rtnetlink import Channel, attribute, attributes
from xlvs.model import MAPPED, Address

_GETLINK = 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_GETROUTE = 26
_NEWNEIGH = 28
_GETRULE = 34
_GETADDRLABEL = 74
_GETNEXTHOP = 106

_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_NDMSG = struct.Struct("=BxxxiHBB")
_EMPTY_BODY = 12
"""struct rtmsg, fib_rule_hdr and ifaddrlblmsg alike."""

_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_EXT_MASK, _IFLA_PARENT_DEV_BUS = 1, 3, 10, 18, 29, 57
_IFLA_INFO_KIND = 1
_EXT_MASK_SKIP_STATS = 0x8
_IFF_LOOPBACK, _IFF_RUNNING = 0x8, 0x40

_IFA_ADDRESS, _IFA_LOCAL, _IFA_CACHEINFO, _IFA_FLAGS = 1, 2, 6, 8
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_DEPRECATED_FOR_EVER = struct.pack("=IIII", 0, 0xFFFFFFFF, 0, 0)

_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_MULTIPATH, _RTA_VIA, _RTA_NH_ID = 1, 4, 5, 7, 9, 18, 30
_RTM_F_FIB_MATCH = 0x2000
_NHMSG_SIZE, _NHA_GROUPS = 8, 9
_NDA_DST = 1
_NTF_USE = 0x1

ROUTE_UNICAST, ROUTE_LOCAL = 1, 2
_NO_ROUTES = {6, 7, 8, 9}  # RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT, RTN_THROW

_GROUPS = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 0x40000 | 0x80000000
"""LINK, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE, NEXTHOP."""
_LONGEST = 1 << 18
_ATTEMPTS = 5


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
    running: bool = True
    """Whether it is up and has a carrier."""


class Route(NamedTuple):
    """How packets reach addresses of one *version* of IP: *gateway* None means they are on the link."""

    type: int
    ifindex: int
    gateway: Address | None
    source: Address | None
    version: int = 4


class OwnAddress(NamedTuple):
    """An address of this host; *scope* 0 is global, *length* that of its prefix."""

    ifindex: int
    address: Address
    scope: int
    length: int


class Netlink:
    """Asks rtnetlink.  Raises `OSError` when the kernel refuses."""

    def __init__(self) -> None:
        self._channel = Channel()
        self._netdev = netdev.Netdev()

    def close(self) -> None:
        """Close the sockets."""
        self._channel.close()
        self._netdev.close()

    def links(self) -> dict[int, Link]:
        """Return every interface by its index."""
        body = _IFINFO.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        body += attribute(_IFLA_EXT_MASK, struct.pack("=I", _EXT_MASK_SKIP_STATS))
        found = map(self._link, self._channel.everything(_GETLINK, body))
        return {link.index: link for link in found}

    def loopback(self) -> int:
        """Return the index of the loopback interface, 0 if there is none."""
        return next((link.index for link in self.links().values() if link.loopback), 0)

    def _link(self, data: bytes) -> Link:
        _, _, index, flags, _ = _IFINFO.unpack_from(data)
        found = attributes(data, _IFINFO.size)
        kind = attributes(found.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND, b"")
        mac = found.get(_IFLA_ADDRESS, b"")
        return Link(
            index,
            _text(found[_IFLA_IFNAME]),
            mac if len(mac) == 6 else bytes(6),
            _text(kind),
            _number(found.get(_IFLA_MASTER)),
            _text(found.get(_IFLA_PARENT_DEV_BUS, b"")),
            bool(flags & _IFF_LOOPBACK),
            self._netdev.xdp_features(index),
            bool(flags & _IFF_RUNNING),
        )

    def addresses(self) -> list[OwnAddress]:
        """Return every address of this network namespace."""
        found = []
        for data in self._channel.everything(_GETADDR, _IFADDR.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
            family, length, _, scope, ifindex = _IFADDR.unpack_from(data)
            values = attributes(data, _IFADDR.size)
            raw = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)  # IFA_ADDRESS is the peer's, if there is one
            if raw and family in (socket.AF_INET, socket.AF_INET6):
                found.append(OwnAddress(ifindex, _address(raw), scope, length))
        return found

    def add_address(self, address: Address, ifindex: int) -> None:
        """Put *address*, and nothing of its network, on an interface; `FileExistsError` if it is there.

        An IPv6 one is usable at once, without asking whether others have it
        (RFC 4862 §5.4), and is nobody's source unless asked for (deprecated).
        """
        flags = _IFA_F_NOPREFIXROUTE
        body = _own(address, ifindex)
        if address.version == 6:
            flags |= _IFA_F_NODAD
            body += attribute(_IFA_CACHEINFO, _DEPRECATED_FOR_EVER)
        body += attribute(_IFA_FLAGS, struct.pack("=I", flags))
        self._channel.do(_NEWADDR, rtnetlink.CREATE | rtnetlink.EXCL, body)

    def delete_address(self, address: Address, ifindex: int) -> None:
        """Take off an interface what `add_address` put there; not being there is no error."""
        try:
            self._channel.do(_DELADDR, 0, _own(address, ifindex))
        except OSError as err:
            if err.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO):
                raise

    def routes(self, addresses: Sequence[Address]) -> list[Route | None]:
        """Return how this host reaches each address, None if it does not."""
        answers = self._channel.ask(_GETROUTE, 0, [_destination(address, 0) for address in addresses])
        return [None if isinstance(answer, OSError) else _route(answer) for answer in answers]

    def route(self, address: Address) -> Route | None:
        """Return how this host reaches *address*, or None if it does not."""
        return self.routes([address])[0]

    def single_routes(self, addresses: Sequence[Address]) -> list[bool]:
        """Return for each address whether the table's entry for it sends all its destinations one way.

        It does not if it has several next hops, or is for addresses of this host, which are their own source.
        """
        answers = self._channel.ask(_GETROUTE, 0, [_destination(address, _RTM_F_FIB_MATCH) for address in addresses])
        doubtful = self._has_nexthop_groups()
        return [isinstance(answer, OSError) or _single(answer, doubtful) for answer in answers]

    def _has_nexthop_groups(self) -> bool:
        try:
            return bool(self._channel.everything(_GETNEXTHOP, bytes(_NHMSG_SIZE) + attribute(_NHA_GROUPS, b"")))
        except OSError as err:
            return err.errno != errno.EOPNOTSUPP  # Linux before 5.3 has no nexthop objects

    def prefixes(self, limit: int) -> set[Prefix] | None:
        """Return every prefix that routes, rules and address labels (RFC 6724 §2.1) have; None if over *limit*."""
        found: set[Prefix] = set()
        for kind in (_GETRULE, _GETADDRLABEL, _GETROUTE):
            for family in (socket.AF_INET, socket.AF_INET6):
                if not (kind == _GETADDRLABEL and family == socket.AF_INET) and not _read(kind, family, found, limit):
                    return None
        return found

    def probe(self, hops: Iterable[tuple[Address, int]]) -> None:
        """Make the kernel resolve, or refresh, neighbours (address, interface), as if a packet were sent to each.

        What it refuses is left out: the interface may be going just now.
        """
        bodies = [
            _NDMSG.pack(_family(address), ifindex, 0, _NTF_USE, 0) + attribute(_NDA_DST, address.packed)
            for address, ifindex in hops
        ]
        self._channel.ask(_NEWNEIGH, rtnetlink.CREATE | rtnetlink.ACK, bodies)


class Monitor:
    """Tells that interfaces, addresses, routes or rules changed; what changed is asked anew."""

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
                self._socket.recv(_LONGEST)
            except BlockingIOError:
                return heard
            except OSError:  # ENOBUFS: more changes than the queue holds, so there were some
                heard = True
            heard = True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _read(kind: int, family: int, found: set[Prefix], limit: int) -> bool:
    """Add the prefixes of one table of tables to *found*; return False when there are more than *limit*."""
    for _ in range(_ATTEMPTS):
        channel = Channel()  # of its own, to be thrown away with what is not read
        try:
            for data in channel.dump(kind, bytes([family]) + bytes(_EMPTY_BODY - 1)):
                found.add(_prefix(data, data[2] if kind == _GETADDRLABEL else data[1]))
                if len(found) > limit:
                    return False
            return True
        except InterruptedError:  # what was read before the change does no harm
            continue
        except OSError as err:
            if err.errno not in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT):  # a kernel without rules, or without IPv6
                raise
            return True
        finally:
            channel.close()
    return False


def _prefix(data: bytes, length: int) -> Prefix:
    """Return the destination of a route, a rule or an address label: attribute 1 in all three."""
    value, at = b"", _EMPTY_BODY
    while not value and at + 4 <= len(data):
        size, kind = rtnetlink.ATTRIBUTE.unpack_from(data, at)
        if kind == _RTA_DST:
            value = data[at + 4 : at + size]
        at += max(4, size + 3 & ~3)
    if data[0] == socket.AF_INET:
        return prefix(int.from_bytes(MAPPED + value.ljust(4, b"\0")), 96 + length)
    return prefix(int.from_bytes(value.ljust(16, b"\0")), length)


def _destination(address: Address, flags: int) -> bytes:
    body = _RTMSG.pack(_family(address), address.max_prefixlen, 0, 0, 0, 0, 0, 0, flags)
    return body + attribute(_RTA_DST, address.packed)


def _route(data: bytes) -> Route | None:
    type_ = data[7]
    if type_ in _NO_ROUTES:
        return None
    found = attributes(data, _RTMSG.size)
    gateway = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]  # struct rtvia: family, address
    source = found.get(_RTA_PREFSRC)
    return Route(
        type_,
        _number(found.get(_RTA_OIF)),
        _address(gateway) if gateway else None,
        _address(source) if source else None,
        4 if data[0] == socket.AF_INET else 6,
    )


def _single(data: bytes, doubtful: bool) -> bool:
    """Return whether the table's entry *data* has one next hop; *doubtful*: there are groups of nexthop objects."""
    if data[7] in _NO_ROUTES:
        return True
    found = attributes(data, _RTMSG.size)
    # IPv6 keeps what it made of a nexthop object with that object, and so may tell of another entry that uses it, one
    # with this next hop alone (net/ipv6/route.c, rt6_get_pcpu_route; seen on 6.18).
    if doubtful and data[0] == socket.AF_INET6 and _RTA_NH_ID in found:
        return False
    # A nexthop object's interface may be told by its number only (net.ipv4.nexthop_compat_mode).
    return data[7] == ROUTE_UNICAST and _RTA_OIF in found and _RTA_MULTIPATH not in found


def _own(address: Address, ifindex: int) -> bytes:
    body = _IFADDR.pack(_family(address), address.max_prefixlen, 0, 0, ifindex)
    return body + attribute(_IFA_LOCAL, address.packed) + attribute(_IFA_ADDRESS, address.packed)


def _family(address: Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def _address(raw: bytes) -> Address:
    return Address(MAPPED + raw if len(raw) == 4 else raw)


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, sys.byteorder) if value else 0


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
