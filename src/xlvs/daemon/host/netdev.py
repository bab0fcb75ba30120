"""Which XDP features an interface has, asked over the generic netlink family ``netdev`` (Linux 6.3).

Hand-made messages: one question with one number in, one number out
(Documentation/netlink/specs/netdev.yaml).
"""

from __future__ import annotations

import socket
import struct

XDP_BASIC = 1 << 0
"""``NETDEV_XDP_ACT_BASIC``: the driver runs XDP programs natively."""
XDP_NDO_XMIT = 1 << 2
"""``NETDEV_XDP_ACT_NDO_XMIT``: XDP may redirect packets to the interface."""

_NETLINK_GENERIC = 16
_GENL_ID_CTRL = 16
_CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_ID, _CTRL_ATTR_FAMILY_NAME = 3, 1, 2
_NETDEV_CMD_DEV_GET, _NETDEV_A_DEV_IFINDEX, _NETDEV_A_DEV_XDP_FEATURES = 1, 1, 3
_NLMSG_ERROR, _NLM_F_REQUEST = 2, 1


class Netdev:
    """Asks about interfaces of the network namespace it is made in."""

    def __init__(self) -> None:
        flags = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, flags, _NETLINK_GENERIC)
        self._socket.bind((0, 0))
        self._socket.settimeout(5)
        name = b"netdev\0"
        found = self._ask(_GENL_ID_CTRL, _CTRL_CMD_GETFAMILY, _CTRL_ATTR_FAMILY_NAME, name)
        self._family = struct.unpack("=H", found[_CTRL_ATTR_FAMILY_ID][:2])[0] if found else 0

    def xdp_features(self, ifindex: int) -> int | None:
        """Return the ``NETDEV_XDP_ACT_*`` bits of an interface, or None if this kernel cannot tell."""
        if not self._family:
            return None
        found = self._ask(self._family, _NETDEV_CMD_DEV_GET, _NETDEV_A_DEV_IFINDEX, struct.pack("=I", ifindex))
        features = found.get(_NETDEV_A_DEV_XDP_FEATURES)
        return struct.unpack("=Q", features)[0] if features else None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _ask(self, family: int, command: int, attribute: int, value: bytes) -> dict[int, bytes]:
        """Return the attributes of the answer, none if the kernel refuses."""
        body = struct.pack("=BBH", command, 1, 0) + struct.pack("=HH", 4 + len(value), attribute) + value
        body += bytes(-len(body) % 4)
        self._socket.send(struct.pack("=IHHII", 16 + len(body), family, _NLM_F_REQUEST, 1, 0) + body)
        answer = self._socket.recv(65536)
        length, kind = struct.unpack_from("=IH", answer)
        return {} if kind == _NLMSG_ERROR else _attributes(answer[20:length])


def _attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += -(-length // 4) * 4
    return found
