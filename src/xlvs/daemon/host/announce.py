"""Telling the neighbours of an interface that an address is there now: one frame, no answer awaited.

Those who remember another machine for the address would send to that one for
minutes.  IPv4: an ARP announcement (RFC 5227 §3).  IPv6: an unsolicited
neighbour advertisement to all nodes (RFC 4861 §7.2.6).  Raises `OSError`.
"""

from __future__ import annotations

import socket
import struct

from xlvs.daemon.host.netlink import Link
from xlvs.model import Address

_BROADCAST = b"\xff" * 6
_ETH_P_ARP = 0x0806
_ARP_REQUEST = 1
_ALL_NODES = "ff02::1"
_NEIGHBOUR_ADVERTISEMENT = 136
_ROUTER, _OVERRIDE = 0x80000000, 0x20000000
_TARGET_LINK_LAYER_ADDRESS = 2
_HOP_LIMIT = 255
"""Others are not accepted (RFC 4861 §7.1.2)."""


def announce(address: Address, link: Link, *, router: bool) -> None:
    """Send the announcement of *address* on *link*; *router*: this host forwards IPv6 packets (RFC 4861 §4.4)."""
    if address.version == 4:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as sock:
            sock.bind((link.name, 0))
            sock.send(arp_announcement(address, link.mac))
        return
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOP_LIMIT)
        sock.bind((str(address), 0))
        # The kernel fills in the checksum (RFC 3542 §3.1).
        sock.sendto(neighbour_advertisement(address, link.mac, router=router), (_ALL_NODES, 0, 0, link.index))


def arp_announcement(address: Address, mac: bytes) -> bytes:
    """Return the frame: a request for the address by itself, so that nobody answers and everybody notes."""
    header = _BROADCAST + mac + struct.pack("!H", _ETH_P_ARP)
    request = struct.pack("!HHBBH", 1, 0x0800, 6, 4, _ARP_REQUEST)
    return header + request + mac + address.packed + bytes(6) + address.packed


def neighbour_advertisement(address: Address, mac: bytes, *, router: bool) -> bytes:
    """Return the ICMPv6 message, its checksum still 0."""
    flags = _OVERRIDE | (_ROUTER if router else 0)
    message = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, flags) + address.packed
    return message + bytes([_TARGET_LINK_LAYER_ADDRESS, 1]) + mac
