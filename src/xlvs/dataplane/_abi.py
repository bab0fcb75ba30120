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
    """A flow state: how long it may be idle, whether it counts as active, whether a new flow may take its place."""

    idle_s: int
    active: bool
    reclaim: bool

    def __new__(cls, number: int, idle_s: int, active: bool, reclaim: bool) -> Self:
        row = int.__new__(cls, number)
        row._value_ = number
        row.idle_s = idle_s
        row.active = active
        row.reclaim = reclaim
        return row


ABI = 4
MAX_SERVICES = 32768
MAX_SERVERS = 262144
MAX_BLOCKS = 65536
MAX_FLOWS = 262144
MAX_SPILL = 8192
MAX_ALIASES = 65536
MAX_WIDE = 65536
MAX_IMPORTS = 4096
MAX_HOPS = 4096
MAX_ADDRS = 262144
HINTS = 1024
HINT_SHIFT = 18
HINT_FACTOR = 2654435761
MAX_INTERFACES = 4096
MAX_FRAGMENTS = 8192
MAX_PREFIXES = 4096
MAX_MATCHES = 16
MAX_SHIFTS = 16384
MAX_CALLS = 16384
CALL_MAX = 255
SIP_TEXT = 2048
FTP_TEXT = 128
MAX_LOCALITIES = 16384
GATHERING = 128
SLOTS_PER_BLOCK = 16
SERVICE_BLOCKS = 64
STATE_CODES = 64
PROTO_MARK = 255
PROTO_TEMPLATE = 254
SCHED_F_FALLBACK = 1
SCHED_F_PORT = 2
SCHED_F_3 = 4
SERVICE_OPS = 1
SERVICE_LIMITED = 2
SERVICE_EVEN = 4
ENGINE_NONE = 0
ENGINE_SIP = 1
NUMBER_BITS = 26
RUN = 67108864
DRAINED = 134217728
CHOICE_FWD_SHIFT = 28
NO_SERVER = 4294967295
LIFE_LIVE = 1
LIFE_TURN_SHIFT = 1
SERVER_LIMITED = 1
SERVER_PERSISTENT = 2
SERVER_QUIESCENT = 4
SERVER_FTP = 16
SERVER_ANY_PORT = 8
TUNNEL_CSUM = 1
TUNNEL_REMCSUM = 2
PAGE_SERVERS = 1024
POS_HEAD = 4294967295
LOCALITY_SERVERS = 16
ADDR_VIP = 1
ADDR_SERVER = 2
ADDR_DIRECTOR = 4
ADDR_FTP = 8
ADDR_PORT_SHIFT = 16
IF_XMIT = 1
IF_HEAL = 2
HANDOVER_ALL = 1
HANDOVER_KNOWN = 2
MARKER_NO_DF = 2020369510
SEGMENTER_MAC = 2716239033089
SYSCTL_SLOPPY_TCP = 1
SYSCTL_SLOPPY_SCTP = 2
SYSCTL_EXPIRE_NODEST = 4
SYSCTL_EXPIRE_QUIESCENT = 8
SYSCTL_NAT_ICMP_SEND = 16
SYSCTL_SCHEDULE_ICMP = 32
SYSCTL_IGNORE_TUNNELED = 64
SYSCTL_BACKUP_ONLY = 128
SYSCTL_CACHE_BYPASS = 256
SYSCTL_PMTU_DISC = 512
SYSCTL_SECURE_TCP = 1024
SYSCTL_REUSE = 2048
SYSCTL_REUSE_NO_OUTPUT = 4096
SYSCTL_SNAT_REROUTE = 8192
SYSCTL_DROP_ENTRY = 16384
QUOTE_V4 = 548
QUOTE_V6 = 1232
FLOW_STATE = 63
FLOW_FREE = 15
FLOW_BUSY = 14
FLOW_CLASS = 3
FLOW_CLASS_SHIFT = 4
FLOW_FWD = 7
FLOW_FWD_SHIFT = 6
FLOW_LOCAL = 512
FLOW_TAKEN_SHIFT = 10
FLOW_SERVER_SHIFT = 12
SERVER_BITS = 20
FLOW_WIDE = 2147483648
WAYS = 4
STRIPE_SHIFT = 6
SPILL_WAYS = 4
PLACE_V6 = 2147483648
PLACE_SPILL = 1073741824
HOP_MOMENTS = 16
CALL_NONE = 0
CALL_READ = 1
CALL_USED = 2


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
    NO_FLOW = 10, "A real server sent a reply that is of no connection; with nat_icmp_send it is told by ICMP."
    DEFENCE = 11, "A new connection was refused by drop_packet."
    NO_CALL = 12, "The service goes by the Call-ID of SIP, and the packet has none that can be read."


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
    FLOW_BESIDE = 13, "New flows that found their bucket of the flow table full and went to the one beside it."
    FLOW_SPILLED = 14, "New flows that found both buckets full and went to the spill."
    FLOW_RECLAIMED = (
        15,
        "New flows that found the spill full, too, and took the place of a flow in which no connection was in use.",
    )
    FLOW_SHED = 16, "Flows that drop_entry ended."


class Sched(_Row):
    """The schedulers."""

    RR = 0
    WRR = 1
    LC = 2
    WLC = 3
    SH = 4
    MH = 5
    DH = 6
    FO = 7
    LBLC = 8
    LBLCR = 9
    NQ = 10
    OVF = 11
    SED = 12
    TWOS = 13


class Fwd(_Row):
    """The forwarding methods."""

    NAT = 0
    ROUTE = 1
    IPIP = 2
    GUE = 3
    GRE = 4


class FlowState(_Timed):
    """Flow states, under the names ipvsadm prints."""

    NONE = 0, 2, False, True
    ESTABLISHED = 1, 900, True, False
    SYN_SENT = 2, 120, True, True
    SYN_RECV = 3, 60, True, True
    FIN_WAIT = 4, 120, False, False
    TIME_WAIT = 5, 120, False, True
    CLOSE = 6, 10, False, True
    CLOSE_WAIT = 7, 60, False, False
    LAST_ACK = 8, 30, False, True
    LISTEN = 9, 120, False, True
    SYNACK = 10, 120, True, True
    UDP = 16, 300, False, False
    SCTP_NONE = 32, 2, False, True
    SCTP_INIT1 = 33, 4, False, True
    SCTP_INIT = 34, 61, False, True
    SCTP_C_SENT = 35, 61, False, True
    SCTP_C_REPLIED = 36, 61, False, False
    SCTP_C_WAIT = 37, 61, False, True
    SCTP_COOKIE = 38, 61, False, False
    SCTP_C_ECHOED = 39, 61, False, False
    SCTP_ESTABLISHED = 40, 900, True, False
    SCTP_S_SENT = 41, 61, False, False
    SCTP_S_RECEIVED = 42, 61, False, False
    SCTP_S_ACK_SENT = 43, 61, False, False
    SCTP_REJECTED = 44, 4, False, True
    SCTP_CLOSED = 45, 61, False, True
    ASSURED = 48, 360, False, False


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
        "names": [
            "index",
            "block",
            "n",
            "table_size",
            "max_weight",
            "gcd",
            "sched",
            "sched_flags",
            "present",
            "flags",
            "persistent",
            "mask",
            "engine",
            "pad",
        ],
        "formats": [
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "|u1",
            "|u1",
            "|u1",
            "|u1",
            "<u4",
            "<u4",
            "|u1",
            ("|u1", (3,)),
        ],
        "offsets": [0, 4, 8, 12, 16, 20, 24, 25, 26, 27, 28, 32, 36, 37],
        "itemsize": 40,
    }
)
VERSIONS: np.dtype[Any] = np.dtype(
    {
        "names": ["turn", "pad", "now", "next"],
        "formats": ["<u4", "<u4", SERVICE, SERVICE],
        "offsets": [0, 4, 8, 48],
        "itemsize": 88,
    }
)
SLOT: np.dtype[Any] = np.dtype(
    {"names": ["choice", "weight"], "formats": ["<u4", "<u4"], "offsets": [0, 4], "itemsize": 8}
)
BLOCK: np.dtype[Any] = np.dtype({"names": ["slot"], "formats": [(SLOT, (16,))], "offsets": [0], "itemsize": 128})
SERVER: np.dtype[Any] = np.dtype(
    {
        "names": ["addr", "src", "virt", "vport", "port", "life", "service", "fwd", "proto", "flags"],
        "formats": [ADDR, ADDR, ADDR, ">u2", ">u2", "<u4", "<u4", "|u1", "|u1", "<u2"],
        "offsets": [0, 16, 32, 48, 50, 52, 56, 60, 61, 62],
        "itemsize": 64,
    }
)
OPTIONS: np.dtype[Any] = np.dtype(
    {
        "names": ["upper", "lower", "mask", "tunnel_port", "tunnel_flags", "pad"],
        "formats": ["<u4", "<u4", "<u4", ">u2", "|u1", "|u1"],
        "offsets": [0, 4, 8, 12, 14, 15],
        "itemsize": 16,
    }
)
LOAD: np.dtype[Any] = np.dtype(
    {
        "names": ["active", "inactive", "persistent", "overloaded"],
        "formats": ["<i4", "<i4", "<i4", "<u4"],
        "offsets": [0, 4, 8, 12],
        "itemsize": 16,
    }
)
PAGE: np.dtype[Any] = np.dtype(
    {"names": ["pad", "overhead"], "formats": [("<u4", (16,)), ("<u4", (1024,))], "offsets": [0, 64], "itemsize": 4160}
)
SCHED_STATE: np.dtype[Any] = np.dtype(
    {"names": ["pos", "cw"], "formats": ["<u4", "<i4"], "offsets": [0, 4], "itemsize": 8}
)
LOCALITY_KEY: np.dtype[Any] = np.dtype(
    {"names": ["virt", "service"], "formats": [ADDR, "<u4"], "offsets": [0, 16], "itemsize": 20}
)
LOCALITY: np.dtype[Any] = np.dtype(
    {
        "names": ["used", "changed", "n", "pad", "server"],
        "formats": ["<u4", "<u4", "<u4", "<u4", ("<u4", (16,))],
        "offsets": [0, 4, 8, 12, 16],
        "itemsize": 80,
    }
)
STATS: np.dtype[Any] = np.dtype(
    {
        "names": ["conns", "in_pkts", "out_pkts", "in_bytes", "out_bytes"],
        "formats": ["<u8", "<u8", "<u8", "<u8", "<u8"],
        "offsets": [0, 8, 16, 24, 32],
        "itemsize": 40,
    }
)
FLOW: np.dtype[Any] = np.dtype(
    {
        "names": ["client", "cport", "vport", "virt", "life", "seen", "hops", "in_bytes", "out_bytes"],
        "formats": ["<u4", ">u2", ">u2", "<u4", "<u4", "<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 4, 6, 8, 12, 16, 20, 24, 28],
        "itemsize": 32,
    }
)
BUCKET: np.dtype[Any] = np.dtype({"names": ["flow"], "formats": [(FLOW, (4,))], "offsets": [0], "itemsize": 128})
FLOW6: np.dtype[Any] = np.dtype(
    {
        "names": ["low", "client", "virt", "pad"],
        "formats": [FLOW, ("<u4", (3,)), ("<u4", (3,)), "<u8"],
        "offsets": [0, 32, 44, 56],
        "itemsize": 64,
    }
)
BUCKET6: np.dtype[Any] = np.dtype({"names": ["flow"], "formats": [(FLOW6, (4,))], "offsets": [0], "itemsize": 256})
STRIPE: np.dtype[Any] = np.dtype(
    {
        "names": ["lock", "spilled", "used", "pad"],
        "formats": ["<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 4, 8, 12],
        "itemsize": 16,
    }
)
SPILL_KEY: np.dtype[Any] = np.dtype(
    {
        "names": ["client", "cport", "proto", "way"],
        "formats": [ADDR, ">u2", "|u1", "|u1"],
        "offsets": [0, 16, 18, 19],
        "itemsize": 20,
    }
)
WIDE: np.dtype[Any] = np.dtype(
    {"names": ["in_bytes", "out_bytes"], "formats": ["<u8", "<u8"], "offsets": [0, 8], "itemsize": 16}
)
ALIAS_KEY: np.dtype[Any] = np.dtype(
    {
        "names": ["own", "virt", "cport", "vport", "proto", "pad"],
        "formats": [ADDR, ADDR, ">u2", ">u2", "|u1", ("|u1", (3,))],
        "offsets": [0, 16, 32, 34, 36, 37],
        "itemsize": 40,
    }
)
HEAD: np.dtype[Any] = np.dtype(
    {
        "names": ["seed", "overflow_until", "buckets", "stripes", "spill", "zero"],
        "formats": [("<u8", (2,)), "<u8", ("<u4", (2,)), ("<u4", (2,)), "<u4", "<u4"],
        "offsets": [0, 16, 24, 32, 40, 44],
        "itemsize": 48,
    }
)
HOP: np.dtype[Any] = np.dtype(
    {
        "names": ["dmac", "smac", "ifindex", "mtu", "stamp", "xmit"],
        "formats": ["<u8", "<u8", "<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 8, 16, 20, 24, 28],
        "itemsize": 32,
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
IMPORT: np.dtype[Any] = np.dtype(
    {
        "names": [
            "client",
            "virt",
            "ports",
            "server",
            "in_bytes",
            "out_bytes",
            "seen",
            "proto",
            "v6",
            "state",
            "fwd",
            "local",
            "failed",
            "pad",
        ],
        "formats": [
            ADDR,
            ADDR,
            "<u4",
            "<u4",
            "<u8",
            "<u8",
            "<u4",
            "|u1",
            "|u1",
            "|u1",
            "|u1",
            "|u1",
            "|u1",
            ("|u1", (6,)),
        ],
        "offsets": [0, 16, 32, 36, 40, 48, 56, 60, 61, 62, 63, 64, 65, 66],
        "itemsize": 72,
    }
)
SWEEP: np.dtype[Any] = np.dtype(
    {
        "names": ["stripe", "pad", "jiffies", "ns", "rounds"],
        "formats": ["<u4", "<u4", "<u8", "<u8", "<u8"],
        "offsets": [0, 4, 8, 16, 24],
        "itemsize": 32,
    }
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
SHIFT_KEY: np.dtype[Any] = np.dtype(
    {
        "names": ["client", "virt", "cport", "vport"],
        "formats": ["<u4", "<u4", ">u2", "<u2"],
        "offsets": [0, 4, 8, 10],
        "itemsize": 12,
    }
)
SHIFT: np.dtype[Any] = np.dtype(
    {"names": ["pos", "before", "after"], "formats": ["<u4", "<i4", "<i4"], "offsets": [0, 4, 8], "itemsize": 12}
)
FTP: np.dtype[Any] = np.dtype(
    {
        "names": [
            "bytes",
            "old",
            "fresh",
            "start",
            "extended",
            "bracket",
            "delimiter",
            "fields",
            "number",
            "high",
            "first",
            "end",
            "port",
        ],
        "formats": [
            ("|u1", (128,)),
            ("|u1", (160,)),
            ("|u1", (160,)),
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
        ],
        "offsets": [0, 128, 288, 448, 452, 456, 460, 464, 468, 472, 476, 480, 484],
        "itemsize": 488,
    }
)
CALL: np.dtype[Any] = np.dtype(
    {
        "names": ["client", "len", "id"],
        "formats": [ADDR, "<u4", ("|u1", (256,))],
        "offsets": [0, 16, 20],
        "itemsize": 276,
    }
)
SIP: np.dtype[Any] = np.dtype(
    {
        "names": ["hash", "known", "size", "state", "matched", "at", "domain", "call", "bytes", "pad"],
        "formats": [("<u8", (2,)), "<u4", "<u4", "<u4", "<u4", "<u4", "<u4", CALL, ("|u1", (2048,)), ("|u1", (4,))],
        "offsets": [0, 16, 20, 24, 28, 32, 36, 40, 316, 2364],
        "itemsize": 2368,
    }
)
MATCH_KEY: np.dtype[Any] = np.dtype(
    {"names": ["length", "addr"], "formats": ["<u4", ADDR], "offsets": [0, 4], "itemsize": 20}
)
MATCH: np.dtype[Any] = np.dtype(
    {
        "names": ["mark", "low", "high", "proto", "family", "pad"],
        "formats": ["<u4", "<u2", "<u2", "|u1", "|u1", "<u2"],
        "offsets": [0, 4, 6, 8, 9, 10],
        "itemsize": 12,
    }
)
MATCHES: np.dtype[Any] = np.dtype({"names": ["match"], "formats": [(MATCH, (16,))], "offsets": [0], "itemsize": 192})
CONFIG: np.dtype[Any] = np.dtype(
    {
        "names": [
            "idle",
            "lo",
            "icmp_per_second",
            "hop_epoch",
            "abi",
            "hz",
            "handover",
            "handover_to",
            "moment_shift",
            "sysctls",
            "segmenter",
            "drop_rate",
            "marker",
            "engines",
            "matches",
            "lblc_s",
            "lblcr_s",
        ],
        "formats": [
            ("<u4", (64,)),
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
            "<u4",
        ],
        "offsets": [0, 256, 260, 264, 268, 272, 276, 280, 284, 288, 292, 296, 300, 304, 308, 312, 316],
        "itemsize": 320,
    }
)
