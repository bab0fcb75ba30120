"""The file format as typed values: the one place where keys, types and limits are said.

The JSON Schema is generated from these, so every field has its description.
What the data plane cannot do yet is part of the format, and refused when a
file is resolved.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from xlvs.model.server import MAX_WEIGHT

SchedulerName = Literal["rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh", "twos"]
ForwardName = Literal["nat", "route", "ipip", "gue", "gre"]
ProtocolName = Literal["tcp", "udp", "sctp"]
ChecksumName = Literal["none", "full", "remote"]
HookName = Literal["xdp", "tc", "none", "auto"]

# linux/if.h: IFNAMSIZ is 16 with the final zero; net/core/dev.c, dev_valid_name: no slash, no colon, no white space.
_DEVICE = r"^[^/:\s]{1,15}$"
_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$"
_IP = {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]}

Ip = Annotated[str, Meta(extra_json_schema=_IP)]
Device = Annotated[str, Meta(pattern=_DEVICE)]
Weight = Annotated[int, Meta(ge=0, le=MAX_WEIGHT)]
TableSize = Literal[251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071]
Threshold = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Seconds = Annotated[int, Meta(ge=1, le=0x7FFFFFFF)]
Port = Annotated[int, Meta(ge=0, le=65535)]
PortRange = Annotated[str, Meta(pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?$")]
Duration = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,8}[smh]?$")]


class Tunnel(Struct, forbid_unknown_fields=True, gc=False):
    """What forward: gue and gre can be told."""

    port: Annotated[int, Meta(ge=0, le=65535, description="gue: the UDP port at which the server unwraps.")] = 0
    checksum: Annotated[
        ChecksumName,
        Meta(description="In the outer header: none, over the whole packet, or (gue) left to the far end."),
    ] = "none"


Span = Annotated[float, Meta(gt=0, le=86400)] | Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)?$")]
CheckEntry = Annotated[
    dict[str, Any], Meta(description="A check: its type, and options as docs/health.md has them for that type.")
]
Checks = Annotated[tuple[CheckEntry, ...], Meta(description="All of them must be good.")]
Command = Annotated[str, Meta(description="A command with its arguments, run without a shell.")]


class NotifyEntry(Struct, forbid_unknown_fields=True, gc=False):
    """Commands that are run when something changes."""

    up: Command = ""
    down: Command = ""
    quorum_up: Command = ""
    quorum_down: Command = ""


class ServerNotifyEntry(Struct, forbid_unknown_fields=True, gc=False):
    """Commands that are run when the server's state changes."""

    up: Command = ""
    down: Command = ""


class ServerHealthEntry(Struct, forbid_unknown_fields=True, gc=False):
    """What this server has instead of what its service says."""

    checks: Checks | UnsetType = UNSET
    alpha: Annotated[bool, Meta(description="Down until its first good answer.")] | UnsetType = UNSET
    inhibit: Annotated[bool, Meta(description="Down is weight 0, not taken out.")] | UnsetType = UNSET
    notify: ServerNotifyEntry | UnsetType = UNSET


class ServerEntry(Struct, forbid_unknown_fields=True, gc=False):
    """A real server of the service."""

    address: Annotated[Ip, Meta(description="Address of the real server, IPv4 or IPv6.")]
    port: (
        Annotated[int, Meta(ge=0, le=65535, description="Port on the real server; left out: the port of the service.")]
        | UnsetType
    ) = UNSET
    weight: (
        Annotated[Weight, Meta(description="Its share of new connections; 0 takes none and keeps the old ones.")]
        | UnsetType
    ) = UNSET
    forward: (
        Annotated[ForwardName, Meta(description="How packets reach it; left out: defaults.forward.")] | UnsetType
    ) = UNSET
    upper: Annotated[Threshold, Meta(description="With so many connections it takes no new ones; 0: no limit.")] = 0
    lower: Annotated[
        Threshold, Meta(description="With fewer than so many it takes new ones again; 0: three quarters of upper.")
    ] = 0
    tunnel: Tunnel | UnsetType = UNSET
    health: ServerHealthEntry | UnsetType = UNSET


class Listen(Struct, forbid_unknown_fields=True, gc=False):
    """What packets the service takes: address, port and protocol, or a firewall mark."""

    address: Annotated[Ip, Meta(description="The virtual address, IPv4 or IPv6.")] | UnsetType = UNSET
    port: (
        Annotated[
            int,
            Meta(
                ge=0, le=65535, description="The virtual port; 0: every one that no other service has, persistent only."
            ),
        ]
        | UnsetType
    ) = UNSET
    protocol: Annotated[ProtocolName, Meta(description="tcp if left out.")] | UnsetType = UNSET
    mark: (
        Annotated[int, Meta(ge=1, le=0xFFFFFFFF, description="Firewall mark, instead of address, port and protocol.")]
        | UnsetType
    ) = UNSET
    family: (
        Annotated[Literal[4, 6], Meta(description="With mark: whether of IPv4 or IPv6 packets; 4 if left out.")]
        | UnsetType
    ) = UNSET


class MatchEntry(Struct, forbid_unknown_fields=True, gc=False):
    """Packets that get the mark from xlvs."""

    address: Annotated[str, Meta(description="Where they go to: an address, or a network as 192.0.2.0/24.")]
    protocol: Annotated[Literal["tcp", "udp"], Meta(description="Left out: each of them.")] | UnsetType = UNSET
    ports: Annotated[
        Port | PortRange | UnsetType, Meta(description="A port, or a range as 8000-8099; left out: all.")
    ] = UNSET


class VirtualAddress(Struct, forbid_unknown_fields=True, gc=False):
    """What xlvs does about the virtual address itself."""

    device: Annotated[Device, Meta(description="Interface that xlvs adds the virtual address to.")]


class Options(Struct, forbid_unknown_fields=True, gc=False, rename=lambda name: name.replace("_", "-")):
    """Switches of the scheduler."""

    mh_port: Annotated[bool, Meta(description="mh: hash the client's port, too.")] = False
    mh_fallback: Annotated[bool, Meta(description="mh: seek on if the server takes no new connections.")] = False
    sh_port: Annotated[bool, Meta(description="sh: hash the client's port, too.")] = False
    sh_fallback: Annotated[bool, Meta(description="sh: seek on if the server takes no new connections.")] = False
    flag_1: Annotated[bool, Meta(description="The scheduler's first flag by its number.")] = False
    flag_2: Annotated[bool, Meta(description="The scheduler's second flag by its number.")] = False
    flag_3: Annotated[bool, Meta(description="The scheduler's third flag by its number.")] = False


class Persistence(Struct, forbid_unknown_fields=True, gc=False):
    """Clients stay with their server."""

    timeout: Annotated[
        Seconds | Duration, Meta(description="For how long: seconds, or a text such as 300s, 5m, 1h.")
    ] = 300
    engine: Annotated[
        Literal["sip"] | UnsetType, Meta(description="sip: calls count as clients do, by the Call-ID; udp only.")
    ] = UNSET
    netmask: (
        Annotated[int, Meta(ge=1, le=128, description="Clients count as one if this many leading bits are equal.")]
        | UnsetType
    ) = UNSET


class HealthEntry(Struct, forbid_unknown_fields=True, gc=False):
    """Which servers may get traffic, and what happens when they are too few."""

    checks: Checks = ()
    alpha: Annotated[bool, Meta(description="Servers are down until their first good answer.")] = False
    omega: Annotated[bool, Meta(description="A daemon that ends runs the down commands.")] = False
    quorum: Annotated[
        int, Meta(ge=1, le=MAX_WEIGHT, description="So much weight must be up for the service to be.")
    ] = 1
    hysteresis: Annotated[
        int, Meta(ge=0, le=MAX_WEIGHT, description="So much more to gain the quorum, so much less to lose it.")
    ] = 0
    inhibit: Annotated[bool, Meta(description="A server that is down gets weight 0; else it is taken out.")] = False
    slow_start: Annotated[
        Span | Literal[0], Meta(description="How long a server that came up takes to get its whole weight.")
    ] = 0
    sorry_server: Annotated[ServerEntry, Meta(description="Answers while the quorum is lost.")] | UnsetType = UNSET
    notify: NotifyEntry | UnsetType = UNSET
    maintenance: Annotated[
        str, Meta(description="A directory: a file named ADDRESS or ADDRESS:PORT there drains the server.")
    ] = ""


class ServiceEntry(Struct, forbid_unknown_fields=True):
    """A virtual service."""

    listen: Listen
    name: (
        Annotated[str, Meta(pattern=_NAME, description="The operator's name for it, unique; letters, digits, . - _")]
        | UnsetType
    ) = UNSET
    match: Annotated[
        tuple[MatchEntry, ...],
        Meta(description="With a mark: which packets get it from xlvs itself; left out: Netfilter marks them."),
    ] = ()
    address: VirtualAddress | UnsetType = UNSET
    scheduler: (
        Annotated[SchedulerName, Meta(description="How servers are chosen; left out: defaults.scheduler.")] | UnsetType
    ) = UNSET
    options: Options | UnsetType = UNSET
    table: (
        Annotated[TableSize, Meta(description="mh: entries of its table; left out: 4093, as in the kernel.")]
        | UnsetType
    ) = UNSET
    persistence: Persistence | UnsetType = UNSET
    ops: Annotated[
        bool, Meta(description="One-packet scheduling: every datagram is scheduled by itself; udp and marks only.")
    ] = False
    servers: Annotated[tuple[ServerEntry, ...], Meta(description="The real servers, oldest first.")] = ()
    health: HealthEntry | UnsetType = UNSET


class Defaults(Struct, forbid_unknown_fields=True):
    """What services and servers have that do not say it themselves."""

    scheduler: Annotated[SchedulerName, Meta(description="Scheduler of services that name none.")] = "wlc"
    forward: Annotated[ForwardName, Meta(description="Forwarding method of servers that name none.")] = "nat"
    weight: Annotated[Weight, Meta(description="Weight of servers that name none.")] = 1


class TimeoutsEntry(Struct, forbid_unknown_fields=True):
    """How long flows live without a packet, as ipvsadm --set says it: seconds, or a text such as 300s, 5m, 1h."""

    tcp: Annotated[Seconds | Duration | UnsetType, Meta(description="Established connections.")] = UNSET
    tcpfin: Annotated[Seconds | Duration | UnsetType, Meta(description="After a FIN.")] = UNSET
    udp: Annotated[Seconds | Duration | UnsetType, Meta(description="UDP.")] = UNSET


class File(Struct, forbid_unknown_fields=True):
    """Configuration of xlvs: the virtual services and their real servers."""

    interfaces: (
        Annotated[
            Literal["auto"] | dict[Device, HookName],
            Meta(description="auto, or which interfaces to work on and how. Left out: as it is."),
        ]
        | UnsetType
    ) = UNSET
    timeouts: (
        Annotated[TimeoutsEntry, Meta(description="Of flows without a packet. Left out: as they are.")] | UnsetType
    ) = UNSET
    sysctls: Annotated[
        dict[str, int | str], Meta(description="Switches of IPVS, by name, as xlvs sysctl shows them; others stay.")
    ] = field(default_factory=dict)
    defaults: Defaults = field(default_factory=Defaults)
    services: Annotated[tuple[ServiceEntry, ...], Meta(description="The virtual services.")] = ()
