"""Firewall marks: packets that Netfilter has marked for a service are brought to the walk (`bpf/marker.h`).

A chain of ours, behind those that mangle, duplicates them to a device of ours
and drops the originals, which works also where the virtual address is the
host's own: a policy route would not, as the table of local addresses comes
first.  Where services are both by mark and by address, packets for the latter
take the same way, for a mark may win.  All of it is there while a service by
mark is, and outlives the daemon; `remove` takes it away.
"""

from __future__ import annotations

import errno
import ipaddress
import shutil
import socket
import struct
import subprocess
import zlib
from collections.abc import Iterable, Sequence

from xlvs.daemon.host import rtnetlink
from xlvs.daemon.host.devices import veth
from xlvs.daemon.host.rtnetlink import Channel, attribute
from xlvs.dataplane import _abi as abi
from xlvs.errors import HostError
from xlvs.model import MARK, ServiceKey

MAC = bytes.fromhex("02786c767302")
"""Of the end where packets come in that the walk did not take."""

PRIORITY = -140
"""Behind the chains that mangle, -150 (include/uapi/linux/netfilter_ipv4.h)."""

_GATEWAYS = {4: "169.254.120.108", 6: "fe80::786c:7673"}
"""Where packets are duplicated to: a neighbour at the other end, which nobody asks anything."""

_NEWROUTE, _NEWNEIGH = 24, 28
_NDMSG, _RTMSG = struct.Struct("=BxxxiHBB"), struct.Struct("=BBBBBBBBI")
_NUD_PERMANENT, _NDA_DST, _NDA_LLADDR = 0x80, 1, 2
_MAIN, _STATIC, _LINK, _UNICAST, _RTA_DST, _RTA_OIF = 254, 4, 253, 1, 1, 4
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_NFT_FAMILIES = {4: "ip", 6: "ip6"}


def names(instance: str) -> tuple[str, str]:
    """Return the names of the two ends: the one that packets leave by, the marker, comes first."""
    stem = f"xlvs{zlib.crc32(instance.encode()):08x}"
    return f"{stem}c", f"{stem}d"


def make(instance: str) -> int:
    """Make the pair of devices unless it is there; return the index of the marker.  Raises `HostError`."""
    into, out = names(instance)
    if shutil.which("nft") is None:
        raise HostError("services by firewall mark need the program nft, which is not here; install nftables")
    try:
        index, _ = veth.make(into, out, MAC)
        for family in ("ipv4", "ipv6"):
            veth.set_sysctl(family, out, "forwarding", "1")
        for sysctl, value in (("rp_filter", "0"), ("accept_local", "1")):
            veth.set_sysctl("ipv4", out, sysctl, value)
        _add_neighbours(index)
    except OSError as err:
        raise HostError(
            f"the devices {into} and {out}, which packets with a firewall mark need, cannot be made: {err}; "
            "services by firewall mark get no packets"
        ) from err
    return index


def steer(instance: str, keys: Iterable[ServiceKey]) -> None:
    """Have Netfilter bring to the walk what is for these services; raises `HostError`."""
    _nft(ruleset(instance, keys))


def remove(instance: str) -> None:
    """Take devices and chain away if they are there."""
    into, _ = names(instance)
    if shutil.which("nft") is not None and is_there(instance):
        _nft("\n".join([*_without(instance, 4), *_without(instance, 6), ""]))
    veth.remove(into)


def is_there(instance: str) -> bool:
    """Say whether the devices are there."""
    try:
        socket.if_nametoindex(names(instance)[0])
    except OSError:
        return False
    return True


def ruleset(instance: str, keys: Iterable[ServiceKey]) -> str:
    """Return what ``nft -f`` reads to bring packets for these services to the marker; one transaction."""
    keys = list(keys)
    return "".join(
        _family_ruleset(instance, version, [key for key in keys if key.version == version]) for version in (4, 6)
    )


def _family_ruleset(instance: str, version: int, keys: Sequence[ServiceKey]) -> str:
    into, out = names(instance)
    ip = _NFT_FAMILIES[version]
    marks = [f"{key.mark:#x}" for key in keys if key.protocol == MARK]
    ends = [f"{key.address} . {key.protocol} . {key.port}" for key in keys if key.protocol != MARK and key.port]
    every = [f"{key.address} . {key.protocol}" for key in keys if key.protocol != MARK and not key.port]
    address = f"ipv{version}_addr"
    lines = [
        *_without(instance, version),
        f"table {ip} {_table(instance)} {{",
        f"  set marks {{ type mark; {_elements(marks)} }}",
        f"  set ends {{ type {address} . inet_proto . inet_service; {_elements(ends)} }}",
        f"  set every_port {{ type {address} . inet_proto; {_elements(every)} }}",
        "  chain prerouting {",
        f"    type filter hook prerouting priority {PRIORITY}; policy accept;",
        f'    iifname {{ "lo", "{into}", "{out}" }} accept',
        "    meta mark @marks jump take",
        f"    {ip} daddr . meta l4proto . th dport @ends jump take",
        f"    {ip} daddr . meta l4proto @every_port jump take",
        "  }",
        "  chain take {",
        f"    ip frag-off & 0x4000 == 0 meta priority set {_handle(abi.MARKER_NO_DF)}" if version == 4 else "",
        f'    dup to {_GATEWAYS[version]} device "{into}" drop',
        "  }",
        "}",
        "",
    ]
    return "\n".join(filter(None, lines)) + "\n"


def _without(instance: str, version: int) -> list[str]:
    """Return the lines that take our table away, whether it is there or not."""
    table = f"table {_NFT_FAMILIES[version]} {_table(instance)}"
    return [table, f"delete {table}"]


def _table(instance: str) -> str:
    return f"xlvs_{zlib.crc32(instance.encode()):08x}"


def _elements(elements: list[str]) -> str:
    return f"elements = {{ {', '.join(elements)} }}" if elements else ""


def _handle(number: int) -> str:
    """Return a packet's priority as nft writes it."""
    return f"{number >> 16:x}:{number & 0xFFFF:x}"


def _nft(rules: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=rules, text=True, capture_output=True, check=False)
    if done.returncode:
        why = done.stderr.strip().splitlines()
        raise HostError(f"nft does not take the rules for firewall marks: {why[0] if why else done.returncode}")


def _add_neighbours(index: int) -> None:
    """Give both gateways a permanent neighbour entry at the marker, and that of IPv6 a route."""
    channel = Channel()
    try:
        for version, gateway in _GATEWAYS.items():
            packed = ipaddress.ip_address(gateway).packed
            body = _NDMSG.pack(_FAMILIES[version], index, _NUD_PERMANENT, 0, 0)
            body += attribute(_NDA_DST, packed) + attribute(_NDA_LLADDR, MAC)
            channel.do(_NEWNEIGH, rtnetlink.CREATE | rtnetlink.REPLACE, body)
        packed = ipaddress.ip_address(_GATEWAYS[6]).packed
        body = _RTMSG.pack(socket.AF_INET6, 128, 0, 0, _MAIN, _STATIC, 0, _UNICAST, 0)
        body += attribute(_RTA_DST, packed) + attribute(_RTA_OIF, struct.pack("=I", index))
        try:
            channel.do(_NEWROUTE, rtnetlink.CREATE | rtnetlink.REPLACE, body)
        except OSError as err:
            if err.errno != errno.EEXIST:
                raise
    finally:
        channel.close()
