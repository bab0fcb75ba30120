"""Turn generic receive offload on, by the ioctl of ethtool(8)."""

from __future__ import annotations

import array
import fcntl
import socket
import struct

SIOCETHTOOL = 0x8946  # include/uapi/linux/sockios.h
ETHTOOL_GGRO = 0x2B  # include/uapi/linux/ethtool.h
ETHTOOL_SGRO = 0x2C


def gro(interface: str) -> bool:
    """Return whether *interface* of this network namespace has generic receive offload on.  Raises `OSError`."""
    return bool(_value(interface, ETHTOOL_GGRO, 0))


def turn_gro_on(interface: str) -> None:
    """Turn generic receive offload of *interface* on.  Raises `OSError`."""
    _value(interface, ETHTOOL_SGRO, 1)


def _value(interface: str, command: int, value: int) -> int:
    """Pass a `struct ethtool_value` to the driver and return its data field."""
    data = array.array("I", (command, value))
    request = struct.pack("16sP", interface.encode(), data.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCETHTOOL, request)
    return data[1]
