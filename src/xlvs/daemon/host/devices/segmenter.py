"""A pair of devices that cuts GSO packets up: what goes into one end comes out of the other in segments.

TC cannot ask for an outer checksum on a GSO packet (`bpf/fwd/tunnel.h`), so a
packet for a tunnel with checksums is sent through here first.  The kernel
segments whatever has more segments, or is longer, than a device's largest GSO
packet (net/core/dev.c, gso_features_check), and at this one everything has.  Made when
a server needs it, and taken away by `remove` only.
"""

from __future__ import annotations

import zlib

from xlvs.daemon.host.devices import veth
from xlvs.dataplane import _abi as abi
from xlvs.errors import HostError

MAC = abi.SEGMENTER_MAC.to_bytes(6, "big")
"""Of the end where segments come in."""


def names(instance: str) -> tuple[str, str]:
    """Return the names of the two ends, the one that GSO packets go into first."""
    stem = f"xlvs{zlib.crc32(instance.encode()):08x}"
    return f"{stem}a", f"{stem}b"


def make(instance: str) -> int:
    """Make the pair unless it is there; return the index of the end that GSO packets go into.  Raises `HostError`."""
    into, out = names(instance)
    try:
        index, _ = veth.make(into, out, MAC, cut=True)
    except OSError as err:
        raise HostError(
            f"the devices {into} and {out}, which cut GSO packets up for tunnels with checksums, cannot be made: "
            f"{err}; such packets are sent without a checksum in the outer header"
        ) from err
    for family in ("ipv4", "ipv6"):
        veth.set_sysctl(family, out, "forwarding", "1")
    return index


def remove(instance: str) -> None:
    """Take the pair away if it is there."""
    veth.remove(names(instance)[0])
