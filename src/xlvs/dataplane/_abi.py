"""What crosses the kernel border: numbers, enums, and struct layouts as numpy dtypes.

Made by tools/gen_abi.py from bpf/abi.h, bpf/maps.h and bpf/tbl; do not edit, run ``./dev generate``.
"""

from __future__ import annotations

import enum
from typing import Any, Self

import numpy as np


class _Row(enum.IntEnum):
    """A row of one table under bpf/tbl."""

    @property
    def label(self) -> str:
        """The row's name as operators write it."""
        return self.name.lower()


class _Told(_Row):
    """A row with a sentence for operators."""

    text: str

    def __new__(cls, number: int, text: str) -> Self:
        row = int.__new__(cls, number)
        row._value_ = number
        row.text = text
        return row


class _Timed(_Row):
    """A flow state: how long a flow may be idle in it, and whether the flow counts as active."""

    idle_s: int
    active: bool

    def __new__(cls, number: int, idle_s: int, active: bool) -> Self:
        row = int.__new__(cls, number)
        row._value_ = number
        row.idle_s = idle_s
        row.active = active
        return row


ABI = 2
MAX_SERVICES = 32768
MAX_SERVERS = 262144
MAX_BLOCKS = 65536
MAX_FLOWS = 262144
MAX_ADDRS = 262144
HINTS = 1024
HINT_SHIFT = 18
HINT_FACTOR = 2654435761
MAX_INTERFACES = 4096
MAX_FRAGMENTS = 8192
SLOTS_PER_BLOCK = 16
SERVICE_BLOCKS = 64
SCHED_F_FALLBACK = 1
SCHED_F_PORT = 2
SCHED_F_3 = 4
NUMBER_BITS = 27
DRAINED = 134217728
CHOICE_FWD_SHIFT = 28
NO_SERVER = 4294967295
LIFE_LIVE = 1
LIFE_TURN_SHIFT = 1
POS_HEAD = 4294967295
DIR_FORWARD = 0
DIR_REPLY = 1
FLOW_INACTIVE = 1
FLOW_LOCAL = 2
FLOW_NOOUTPUT = 4
FLOW_FWD_SHIFT = 4
ADDR_VIP = 1
ADDR_SERVER = 2
ADDR_DIRECTOR = 4
IF_XMIT = 1
IF_HEAL = 2
QUOTE_V4 = 548
QUOTE_V6 = 1232
STATE_DEAD = 255


class DropReason(_Told):
    """Why xlvs refuses a packet that was its to forward."""

    NO_SERVER = 0, "The service has no real server that takes new flows."
    SERVER_GONE = 1, "The flow's real server was deleted; the flow is kept until it is back or the flow expires."
    TTL = 2, "The packet's TTL or hop limit was used up; the sender was told by ICMP."
    TOO_BIG = 3, "The packet does not fit the path to the real server; the sender was told by ICMP."
    NO_ROUTE = 4, "The director has no route to the real server."
    NO_FORWARDING = 5, "IP forwarding is off on the interface; set net.ipv4.ip_forward or net.ipv6.conf.all.forwarding."
    BUSY = 6, "Another CPU was replacing the same flow; the sender's retransmission will pass."
    NO_HEADROOM = 7, "The packet could not be grown for the tunnel header or the ICMP answer."
    NO_SOURCE = 8, "The director has no address of its own from which to reach the real server."
    ICMP_LIMIT = 9, "The packet was dropped without an ICMP answer: too many were sent this second."


class Counter(_Told):
    """Events of the whole director."""

    XDP_FORWARDED = 0, "Packets forwarded by the XDP hook."
    TC_FORWARDED = 1, "Packets forwarded by the TC ingress hook."
    LOCAL_FORWARDED = 2, "Packets of clients on the director itself, forwarded by the TC egress hook."
    XDP_PUNTED = 3, "Packets of a service that XDP left to the TC hook."
    FLOW_OPENED = 4, "Flows that entered the table."
    FLOW_EXPIRED = 5, "Flows that left the table: idle too long, or replaced by a new connection."
    FLOW_FULL = 6, "New flows that found the table full and were forwarded by a stateless choice."
    STATELESS = 7, "Packets forwarded by a stateless choice, without a flow."
    ICMP_SENT = 8, "ICMP errors that the director sent."
    ICMP_RELAYED = 9, "ICMP errors of others that were relayed to a flow's other side."
    HEALED = 10, "Packets whose partial checksum XDP completed."
    DECAPSULATED = 11, "Tunnelled packets unwrapped on a real server."
    SWEEPS = 12, "Slices of the flow table that the expiry timer went through."


class Sched(_Row):
    """The schedulers."""

    RR = 0
    WRR = 1
    LC = 2
    WLC = 3
    SH = 4
    MH = 5


class Fwd(_Row):
    """The forwarding methods."""

    NAT = 0
    ROUTE = 1
    IPIP = 2


class FlowState(_Timed):
    """Flow states, under the names ipvsadm prints."""

    NONE = 0, 2, False
    ESTABLISHED = 1, 900, True
    SYN_SENT = 2, 120, True
    SYN_RECV = 3, 60, True
    FIN_WAIT = 4, 120, False
    TIME_WAIT = 5, 120, False
    CLOSE = 6, 10, False
    CLOSE_WAIT = 7, 60, False
    LAST_ACK = 8, 30, False
    LISTEN = 9, 120, False
    SYNACK = 10, 120, True
    UDP = 11, 300, False


ADDR: np.dtype[Any] = np.dtype("V16")
SERVICE_KEY: np.dtype[Any] = np.dtype(
    {
        "names": ["addr", "port", "proto", "pad"],
        "formats": [ADDR, ">u2", "|u1", "|u1"],
        "offsets": [0, 16, 18, 19],
        "itemsize": 20,
    }
)
SERVICE: np.dtype[Any] = np.dtype(
    {
        "names": ["index", "block", "n", "table_size", "max_weight", "gcd", "sched", "sched_flags", "present", "pad"],
        "formats": ["<u4", "<u4", "<u4", "<u4", "<u4", "<u4", "|u1", "|u1", "|u1", "|u1"],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 25, 26, 27],
        "itemsize": 28,
    }
)
VERSIONS: np.dtype[Any] = np.dtype(
    {
        "names": ["turn", "pad", "now", "next"],
        "formats": ["<u4", "<u4", SERVICE, SERVICE],
        "offsets": [0, 4, 8, 36],
        "itemsize": 64,
    }
)
SLOT: np.dtype[Any] = np.dtype(
    {"names": ["choice", "weight"], "formats": ["<u4", "<u4"], "offsets": [0, 4], "itemsize": 8}
)
BLOCK: np.dtype[Any] = np.dtype({"names": ["slot"], "formats": [(SLOT, (16,))], "offsets": [0], "itemsize": 128})
SERVER: np.dtype[Any] = np.dtype(
    {
        "names": ["addr", "src", "virt", "vport", "port", "life", "service", "fwd", "proto", "pad"],
        "formats": [ADDR, ADDR, ADDR, ">u2", ">u2", "<u4", "<u4", "|u1", "|u1", "<u2"],
        "offsets": [0, 16, 32, 48, 50, 52, 56, 60, 61, 62],
        "itemsize": 64,
    }
)
LOAD: np.dtype[Any] = np.dtype(
    {"names": ["active", "inactive"], "formats": ["<i4", "<i4"], "offsets": [0, 4], "itemsize": 8}
)
SCHED_STATE: np.dtype[Any] = np.dtype(
    {"names": ["pos", "cw"], "formats": ["<u4", "<i4"], "offsets": [0, 4], "itemsize": 8}
)
STATS: np.dtype[Any] = np.dtype(
    {
        "names": ["conns", "in_pkts", "out_pkts", "in_bytes", "out_bytes"],
        "formats": ["<u8", "<u8", "<u8", "<u8", "<u8"],
        "offsets": [0, 8, 16, 24, 32],
        "itemsize": 40,
    }
)
FLOW_KEY: np.dtype[Any] = np.dtype(
    {
        "names": ["client", "other", "cport", "oport", "proto", "dir", "pad"],
        "formats": [ADDR, ADDR, ">u2", ">u2", "|u1", "|u1", "<u2"],
        "offsets": [0, 16, 32, 34, 36, 37, 38],
        "itemsize": 40,
    }
)
HOP: np.dtype[Any] = np.dtype(
    {"names": ["dmac", "smac", "out"], "formats": ["<u8", "<u8", "<u8"], "offsets": [0, 8, 16], "itemsize": 24}
)
FLOW: np.dtype[Any] = np.dtype(
    {
        "names": [
            "key",
            "word",
            "seen",
            "born",
            "server",
            "service",
            "in_pkts",
            "out_pkts",
            "in_bytes",
            "out_bytes",
            "to_server",
            "to_client",
        ],
        "formats": [FLOW_KEY, "<u8", "<u8", "<u8", "<u4", "<u4", "<u8", "<u8", "<u8", "<u8", HOP, HOP],
        "offsets": [0, 40, 48, 56, 64, 68, 72, 80, 88, 96, 104, 128],
        "itemsize": 152,
    }
)
TABLE: np.dtype[Any] = np.dtype(
    {
        "names": ["next", "cursor", "live", "pad", "overflow_until"],
        "formats": ["<u4", "<u4", "<i4", "<u4", "<u8"],
        "offsets": [0, 4, 8, 12, 16],
        "itemsize": 24,
    }
)
FRAG_KEY: np.dtype[Any] = np.dtype(
    {
        "names": ["src", "dst", "id", "proto"],
        "formats": [ADDR, ADDR, "<u4", "<u4"],
        "offsets": [0, 16, 32, 36],
        "itemsize": 40,
    }
)
FRAG: np.dtype[Any] = np.dtype(
    {"names": ["sport", "dport"], "formats": [">u2", ">u2"], "offsets": [0, 2], "itemsize": 4}
)
SWEEPER: np.dtype[Any] = np.dtype({"names": ["timer"], "formats": ["|V16"], "offsets": [0], "itemsize": 16})
CLOCK: np.dtype[Any] = np.dtype(
    {"names": ["jiffy", "ns"], "formats": ["<u8", "<u8"], "offsets": [0, 8], "itemsize": 16}
)
SCRATCH: np.dtype[Any] = np.dtype(
    {
        "names": ["bytes", "second", "sent"],
        "formats": [("|u1", (1280,)), "<u8", "<u8"],
        "offsets": [0, 1280, 1288],
        "itemsize": 1296,
    }
)
INTERFACE: np.dtype[Any] = np.dtype(
    {
        "names": ["ifindex", "flags", "mac"],
        "formats": ["<u4", "<u2", ("|u1", (6,))],
        "offsets": [0, 4, 6],
        "itemsize": 12,
    }
)
CONFIG: np.dtype[Any] = np.dtype(
    {
        "names": ["idle_ns", "max_flows", "lo", "icmp_per_second", "hop_epoch", "abi"],
        "formats": [("<u8", (16,)), "<u4", "<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 128, 132, 136, 140, 144],
        "itemsize": 152,
    }
)
