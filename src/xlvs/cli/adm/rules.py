"""Which options go with which command, and which with which tunnel (the legality tables of ipvsadm 1.31)."""

from __future__ import annotations

from xlvs.cli.adm.errors import fail

OPTIONS = (
    "numeric",
    "connection",
    "service-address",
    "scheduler",
    "persistent",
    "netmask",
    "real-server",
    "forwarding-method",
    "weight",
    "u-threshold",
    "l-threshold",
    "mcast-interface",
    "timeout",
    "daemon",
    "stats",
    "rate",
    "thresholds",
    "persistent-conn",
    "nosort",
    "syncid",
    "exact",
    "ops",
    "pe",
    "sched-flags",
    "mcast-group",
    "mcast-port",
    "mcast-ttl",
    "sync-maxlen",
    "tun-info",
    "tun-type",
    "tun-port",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
)
"""Every option in the order in which ipvsadm checks them: the first complaint is the one that is printed."""

_SERVICE = ("service-address",)
_SERVER = ("service-address", "real-server")
_SCHEDULING = ("scheduler", "persistent", "netmask", "ops", "pe", "sched-flags")
_TUNNEL = ("tun-type", "tun-port", "tun-nocsum", "tun-csum", "tun-remcsum")
_FORWARDING = ("forwarding-method", "weight", "u-threshold", "l-threshold", *_TUNNEL)
_VIEWS = ("connection", "service-address", "timeout", "daemon")
_COLUMNS = ("numeric", "stats", "rate", "thresholds", "persistent-conn", "nosort", "exact", "tun-info")
_SYNC = ("mcast-interface", "syncid", "mcast-group", "mcast-port", "mcast-ttl", "sync-maxlen")

# command: (needed, allowed, at most one of)
_COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "add-service": (_SERVICE, _SCHEDULING, ()),
    "edit-service": (_SERVICE, _SCHEDULING, ()),
    "delete-service": (_SERVICE, (), ()),
    "flush": ((), (), ()),
    "list": ((), _COLUMNS, _VIEWS),
    "add-server": (_SERVER, _FORWARDING, ()),
    "delete-server": (_SERVER, (), ()),
    "edit-server": (_SERVER, _FORWARDING, ()),
    "set": ((), (), ()),
    "start-daemon": ((), _SYNC, ()),
    "stop-daemon": ((), ("syncid",), ()),
    "restore": ((), (), ()),
    "save": ((), ("numeric",), ()),
    "zero": ((), _SERVICE, ()),
}

_CHECKSUMS = ("tun-nocsum", "tun-csum", "tun-remcsum")
_TUNNELS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "ipip": ((), (), ()),
    "gue": (("tun-port",), (), _CHECKSUMS),
    "gre": ((), (), ("tun-nocsum", "tun-csum")),
}


def check_command(command: str, given: set[str]) -> None:
    """Raise `Stop` with ipvsadm's complaint if the options *given* do not suit *command*."""
    _check(OPTIONS, given, _COMMANDS[command], f"the '{command}' command")


def check_tunnel(tunnel: str, given: set[str]) -> None:
    """Raise `Stop` with ipvsadm's complaint if the options *given* do not suit this type of *tunnel*."""
    _check(("tun-port", *_CHECKSUMS), given, _TUNNELS[tunnel], f"the '{tunnel}' tunnel type")


OF_CONNECTIONS = (
    "client", "server", "service", "state", "protocol", "older-than", "limit", "largest", "idle", "bytes",
)  # fmt: skip
"""What xlvs has beside ipvsadm for the list of connections: which of them, in what order, and with what beside."""


def check_list(given: set[str]) -> None:
    """Raise `Stop` if the columns asked for are not those of the list asked for."""
    for option in OF_CONNECTIONS:
        if option in given and "connection" not in given:
            raise fail(f"You need to supply the 'connection' option for the '{option}' option")
    counters = given & {"stats", "rate", "thresholds"}
    settings = given & {"timeout", "daemon"}
    if ("connection" in given or settings) and counters or settings and "persistent-conn" in given:
        raise fail("options conflicts in the list command")


def _check(
    options: tuple[str, ...],
    given: set[str],
    table: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]],
    subject: str,
) -> None:
    needed, allowed, one_of = table
    taken = ""
    for option in options:
        if option not in given:
            if option in needed:
                raise fail(f"You need to supply the '{option}' option for {subject}")
        elif option in one_of:
            if taken:
                raise fail(f"The option '{option}' conflicts with the '{taken}' option in {subject}")
            taken = option
        elif option not in needed and option not in allowed:
            raise fail(f"Illegal '{option}' option with {subject}")
