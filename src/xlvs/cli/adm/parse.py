"""A command line of ipvsadm, read into one `Command` value.

Reads everything that ipvsadm 1.31 reads and complains as it does, in the same
order.  Asks nobody but the resolver; whether xlvs can do it is decided elsewhere.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from xlvs.cli.adm import rules
from xlvs.cli.adm.address import parse_endpoint, parse_host, parse_leading_number, parse_number
from xlvs.cli.adm.errors import Refused, Stop, fail, try_help
from xlvs.cli.adm.popt import Popt, PoptError

DEFAULT_SCHEDULER = "wlc"
MAX_TIMEOUT = 86400 * 31
"""Seconds: 31 days (ipvsadm.c)."""
DEFAULT_PERSISTENCE = 360
"""Seconds of ``-p`` without a value (libipvs, IPVS_SVC_PERSISTENT_TIMEOUT)."""
INT_MAX = 2**31 - 1

_COMMANDS = {
    "add-service": "add-service",
    "edit-service": "edit-service",
    "delete-service": "delete-service",
    "clear": "flush",
    "list": "list",
    "zero": "zero",
    "add-server": "add-server",
    "edit-server": "edit-server",
    "delete-server": "delete-server",
    "set": "set",
    "restore": "restore",
    "save": "save",
    "start-daemon": "start-daemon",
    "stop-daemon": "stop-daemon",
}
_PLAIN = (
    "connection",
    "numeric",
    "timeout",
    "daemon",
    "stats",
    "rate",
    "thresholds",
    "persistent-conn",
    "nosort",
    "exact",
    "tun-info",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
    "ops",
    "largest",
    "idle",
    "bytes",
    "atomic",
)
_FLAGS = {
    "flag-1": ("", "flag-1"),
    "flag-2": ("", "flag-2"),
    "flag-3": ("", "flag-3"),
    "sh-fallback": ("sh", "flag-1"),
    "sh-port": ("sh", "flag-2"),
    "mh-fallback": ("mh", "flag-1"),
    "mh-port": ("mh", "flag-2"),
}


class Command:
    """What one command line asks for.  Addresses are packed bytes; *family* is 4, 6 or 0 (no service given)."""

    def __init__(self) -> None:
        self.name = ""
        self.options: set[str] = set()
        self.protocol = ""
        self.family = 0
        self.address = b""
        self.port = 0
        self.fwmark = 0
        self.scheduler = ""
        self.flags: frozenset[str] = frozenset()
        self.persistent = 0
        self.netmask = ""
        self.engine = ""
        self.server_address = b""
        self.server_port = 0
        self.forward = "route"
        self.weight = 1
        self.upper = 0
        self.lower = 0
        self.tunnel = "ipip"
        self.tunnel_port = 0
        self.timeouts: tuple[int, ...] = ()
        self.interface = "eth0"
        self.filters: dict[str, str] = {}
        self.output = "table"


def parse(words: list[str]) -> Command:
    """Return the command of these *words* (program name excluded); raises `Stop` and `Refused`."""
    reader = Popt(words)
    command = Command()
    _parse_command(reader, command)
    reader.extend(command.name)
    sched_flags = _parse_options(reader, command)
    if command.name == "set":
        command.timeouts = _parse_timeouts(reader)
    if command.name == "list" and "ops" in command.options and reader.leftovers == ["json"]:
        # ``-o json`` of ours: for ipvsadm -o has no argument, and a list no words.
        reader.leftovers.clear()
        command.options.remove("ops")
        _read_output(command, "json", "output")
    if reader.leftovers:
        raise fail(f"unexpected argument {reader.leftovers[0]}")
    command.flags = _parse_flags(sched_flags, command.scheduler or DEFAULT_SCHEDULER)
    rules.check_command(command.name, command.options)
    if command.name in ("add-service", "edit-service"):
        _finish_service(command)
    elif command.name in ("add-server", "edit-server"):
        _finish_server(command)
    elif command.name == "list":
        rules.check_list(command.options)
    return command


def _parse_command(reader: Popt, command: Command) -> None:
    try:
        first = reader.next()
    except PoptError:
        raise try_help() from None
    name, value = first or ("", None)
    if name == "help":
        from xlvs.cli.adm.help import HELP

        raise Stop(0, HELP, on_stdout=True)
    if name == "version":
        from xlvs.cli.adm.help import VERSION

        raise Stop(0, VERSION, on_stdout=True)
    if name not in _COMMANDS:
        raise try_help()
    if name == "start-daemon" and value not in ("master", "backup"):
        raise fail("illegal start-daemon parameter specified")
    if name == "stop-daemon" and value not in ("master", "backup"):
        raise fail("illegal start_daemon specified")
    command.name = _COMMANDS[name]


def _parse_options(reader: Popt, command: Command) -> str:
    """Read all options into *command*; return the scheduler flags, which need the scheduler to be known first."""
    sched_flags = ""
    try:
        while option := reader.next():
            name, value = option
            if name == "sort":
                continue
            if name in _PLAIN:
                _take(command, name)
            elif name == "sched-flags":
                _take(command, name)
                sched_flags = (value or "")[:127]
            elif name in _READERS:
                _READERS[name](command, value or "", name)
            elif name == "persistent":
                _take(command, name)
                command.persistent = DEFAULT_PERSISTENCE if value is None else _timeout(value, 1)
            else:
                raise fail(f"invalid option `{reader.last_word}'")
    except PoptError as error:
        raise Refused(f"{reader.last_word}: {error}") from None
    return sched_flags


def _take(command: Command, option: str) -> None:
    if option in command.options:
        raise fail(f"multiple '{option}' options specified")
    command.options.add(option)


def _number(value: str, low: int, high: int, what: str) -> int:
    number = parse_number(value, low, high)
    if number is None:
        raise fail(f"illegal {what} specified")
    return number


def _timeout(value: str, low: int) -> int:
    number = parse_number(value, low, MAX_TIMEOUT)
    if number is None:
        raise fail(f"invalid timeout value `{value}' specified")
    return number


def _read_service(command: Command, value: str, name: str) -> None:
    _take(command, "service-address")
    command.protocol = name.partition("-")[0]
    endpoint = parse_endpoint(value, command.protocol)
    if endpoint is None:
        raise fail("illegal virtual server address[:port] specified")
    command.address, command.port = endpoint[0], endpoint[1] or 0
    command.family = 4 if len(command.address) == 4 else 6
    if command.family == 6:
        command.netmask = ""


def _read_fwmark(command: Command, value: str, _name: str) -> None:
    _take(command, "service-address")
    number = parse_number(value, 1, 2**32 - 1)
    if number is None:
        raise fail(f"invalid fwmark value `{value}' specified")
    command.protocol, command.family, command.fwmark = "tcp", 4, number


def _read_ipv6(command: Command, _value: str, _name: str) -> None:
    if not command.fwmark:
        raise fail("-6 used before -f\n")
    command.family, command.netmask = 6, ""


def _read_scheduler(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.scheduler = value[:15]


def _read_engine(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.engine = value[:16]


def _read_netmask(command: Command, value: str, name: str) -> None:
    _take(command, name)
    if command.family == 6:
        length = parse_leading_number(value)
        if not 1 <= length <= 128:
            raise fail("illegal ipv6 netmask specified")
        command.netmask = "" if length == 128 else str(length)
        return
    mask = parse_host(value)
    if mask is None:
        raise fail("illegal virtual server persistent mask specified")
    command.netmask = "" if mask == b"\xff" * 4 else socket.inet_ntoa(mask)


def _read_server(command: Command, value: str, name: str) -> None:
    _take(command, name)
    endpoint = parse_endpoint(value, command.protocol)
    if endpoint is None:
        raise fail("illegal real server address[:port] specified")
    command.server_address = endpoint[0]
    command.server_port = command.port if endpoint[1] is None else endpoint[1]


def _read_forward(command: Command, _value: str, name: str) -> None:
    _take(command, "forwarding-method")
    command.forward = {"masquerading": "nat", "gatewaying": "route", "ipip": "ipip"}[name]


def _read_weight(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.weight = _number(value, 0, INT_MAX, "weight")


def _read_upper(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.upper = _number(value, 0, INT_MAX, "u_threshold")


def _read_lower(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.lower = _number(value, 0, INT_MAX, "l_threshold")


def _read_tunnel_type(command: Command, value: str, name: str) -> None:
    _take(command, name)
    if value not in ("ipip", "gue", "gre"):
        raise fail("illegal tunnel type specified")
    command.tunnel = value


def _read_tunnel_port(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.tunnel_port = _number(value, 1, 65535, "tunnel port")


def _read_interface(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.interface = value[:15] or "eth0"


def _read_group(command: Command, value: str, name: str) -> None:
    _take(command, name)
    family, version = (socket.AF_INET6, 6) if ":" in value else (socket.AF_INET, 4)
    try:
        first = socket.inet_pton(family, value)[0]
    except (OSError, ValueError):
        first = 0
    if first != 0xFF if version == 6 else not 224 <= first < 240:
        raise fail(f"invalid IPv{version} mcast-group `{value}'")


_SYNC_LIMITS = {"syncid": (0, 255), "mcast-port": (1, 65535), "mcast-ttl": (1, 255), "sync-maxlen": (1, 65507)}


def _read_sync_number(command: Command, value: str, name: str) -> None:
    _take(command, name)
    _number(value, *_SYNC_LIMITS[name], name)


def _read_output(command: Command, value: str, name: str) -> None:
    _take(command, name)
    if value not in ("json", "table"):
        raise fail("illegal output specified")
    command.output = value


def _read_filter(command: Command, value: str, name: str) -> None:
    _take(command, name)
    command.filters[name] = value


_READERS: dict[str, Callable[[Command, str, str], None]] = {
    "tcp-service": _read_service,
    "udp-service": _read_service,
    "sctp-service": _read_service,
    "fwmark-service": _read_fwmark,
    "ipv6": _read_ipv6,
    "scheduler": _read_scheduler,
    "pe": _read_engine,
    "netmask": _read_netmask,
    "real-server": _read_server,
    "masquerading": _read_forward,
    "gatewaying": _read_forward,
    "ipip": _read_forward,
    "weight": _read_weight,
    "u-threshold": _read_upper,
    "l-threshold": _read_lower,
    "tun-type": _read_tunnel_type,
    "tun-port": _read_tunnel_port,
    "mcast-interface": _read_interface,
    "mcast-group": _read_group,
    "syncid": _read_sync_number,
    "mcast-port": _read_sync_number,
    "mcast-ttl": _read_sync_number,
    "sync-maxlen": _read_sync_number,
    "output": _read_output,
    "client": _read_filter,
    "server": _read_filter,
    "service": _read_filter,
    "state": _read_filter,
    "protocol": _read_filter,
    "older-than": _read_filter,
    "limit": _read_filter,
}


def _parse_timeouts(reader: Popt) -> tuple[int, ...]:
    if len(reader.leftovers) < 3:
        raise fail("--set option requires 3 timeout values")
    values, reader.leftovers = reader.leftovers[:3], reader.leftovers[3:]
    return tuple(_timeout(value, 0) for value in values)


def _parse_flags(text: str, scheduler: str) -> frozenset[str]:
    flags = set()
    for word in filter(None, text.split(",")):
        if word not in _FLAGS:
            raise fail(f"invalid scheduler flag `{word}'")
        owner, flag = _FLAGS[word]
        if owner and owner != scheduler:
            raise fail(f"incompatible scheduler flag `{word}'")
        flags.add(flag)
    return frozenset(flags)


def _finish_service(command: Command) -> None:
    if not command.fwmark:
        if not command.port and "persistent" not in command.options:
            raise fail("Zero port specified for non-persistent service")
        if "ops" in command.options and command.protocol != "udp":
            raise fail("One-Packet Scheduling is only for UDP virtual services")
    command.scheduler = command.scheduler or DEFAULT_SCHEDULER


def _finish_server(command: Command) -> None:
    # Direct routing and tunnels cannot translate ports, so the one given is replaced without a word.
    if not command.fwmark and command.forward != "nat":
        command.server_port = command.port
    server_family = 4 if len(command.server_address) == 4 else 6
    if command.forward != "ipip":
        if server_family != command.family:
            raise fail("Different address family is allowed only for tunneling servers")
        if any(option.startswith("tun-") for option in command.options):
            raise fail("Tunnel options conflict with forward method")
    rules.check_tunnel(command.tunnel, command.options)
