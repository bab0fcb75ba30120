"""The switches that IPVS has under ``net/ipv4/vs``: names, defaults, what may be written, and what they do here.

Pure.  Names and ranges are those of Linux 6.12 (net/netfilter/ipvs/ip_vs_ctl.c,
``vs_vars``); most take any number of 32 bits.  Values are text, as they are
read and written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from xlvs.errors import InvalidError

_NUMBER = re.compile(r"(-?)(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,20}|[1-9][0-9]{0,18})", re.ASCII)

INT_MIN, INT_MAX = -(1 << 31), (1 << 31) - 1


class Sysctl(NamedTuple):
    """One switch: *lacks* says why it does nothing in xlvs, empty: it does what *text* says."""

    name: str
    default: str
    text: str
    lacks: str = ""
    read: Callable[[str], str] = lambda text: str(_int(text))


def _int(text: str, low: int = INT_MIN, high: int = INT_MAX) -> int:
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        raise InvalidError(f"{text!r} is no number")
    sign, digits = found.groups()
    # As in C: 0x is hexadecimal, and a 0 before other digits octal (kernel/sysctl.c, proc_get_long).
    number = int(sign + digits, 8 if digits[0] == "0" and digits.isdigit() else 0)
    if not low <= number <= high:
        raise InvalidError(f"{number} is outside {low}..{high}")
    return number


def _within(low: int, high: int) -> Callable[[str], str]:
    return lambda text: str(_int(text, low, high))


def _mode(text: str) -> str:
    """Read 0, 1 or 3; 2 is 1 while it is in force, and so reads back as 1 for now (proc_do_defense_mode)."""
    mode = _int(text, 0, 3)
    return str(1 if mode == 2 else mode)


def _ports(text: str) -> str:
    ports = _int(text, 1, 64)
    if ports & (ports - 1):
        raise InvalidError(f"{ports} is no power of two")
    return str(ports)


def _threshold(text: str) -> str:
    words = text.split()
    if len(words) != 2:
        raise InvalidError(f"{text!r} are not two numbers")
    threshold, period = (_int(word, 0) for word in words)
    if period and threshold >= period:
        raise InvalidError(f"the threshold {threshold} is not below the period {period}")
    return f"{threshold}\t{period}"


_SYNC = "xlvs does not synchronise connections yet"
_ESTIMATOR = "rates are computed by the daemon, not by kernel threads"

SYSCTLS = {
    found.name: found
    for found in (
        Sysctl("am_droprate", "10", "with drop_packet=3: one of so many new connections is refused"),
        Sysctl("amemthresh", "1024", "free pages below which the automatic defences are in force"),
        Sysctl("backup_only", "0", "a backup director balances nothing", _SYNC),
        Sysctl(
            "cache_bypass", "0", "packets of a service by mark that has no server go to where they were sent",
        ),
        Sysctl("conn_reuse_mode", "1", "0: a client's port that is used again keeps its server; 2: also after FIN"),
        Sysctl("conntrack", "0", "connections are in nf_conntrack, too", "packets do not pass Netfilter in xlvs"),
        Sysctl(
            "debug_level", "0", "how much the kernel logs", "xlvs has its own log", read=_within(0, 12),
        ),
        Sysctl("drop_entry", "0", "3 (1: while memory is scarce): half-open and silent connections end", read=_mode),
        Sysctl("drop_packet", "0", "3 (1: while memory is scarce): one of some new connections is refused", read=_mode),
        Sysctl("est_cpulist", "", "CPUs for the estimator", _ESTIMATOR, read=str),
        Sysctl("est_nice", "0", "nice value of the estimator", _ESTIMATOR, read=_within(-20, 19)),
        Sysctl("expire_nodest_conn", "0", "connections of a server that was deleted end with their next packet"),
        Sysctl("expire_quiescent_template", "0", "clients do not keep a persistent server whose weight is 0"),
        Sysctl(
            "ignore_tunneled", "0", "packets that came out of a tunnel are not balanced again",
            "what a tunnel device hands up has no Ethernet header, and is never balanced in xlvs",
        ),
        Sysctl("lblc_expiration", "86400", "seconds that lblc remembers a virtual address"),
        Sysctl("lblcr_expiration", "86400", "the same of lblcr, and after how many it makes a set smaller"),
        Sysctl("nat_icmp_send", "0", "a real server whose reply is of no connection is told by ICMP"),
        Sysctl("pmtu_disc", "1", "0: packets that do not fit into a tunnel are fragmented, DF or not"),
        Sysctl("run_estimation", "1", "rates are computed"),
        Sysctl("schedule_icmp", "0", "ICMP errors about packets of a service open the connection that they are of"),
        Sysctl("secure_tcp", "0", "3 (1: while memory is scarce): the stricter state table for TCP", read=_mode),
        Sysctl("sloppy_sctp", "0", "1: any SCTP packet but an ABORT may open a connection"),
        Sysctl("sloppy_tcp", "0", "any TCP packet but a reset may open a connection"),
        Sysctl("snat_reroute", "1", "replies are routed by their new source", "xlvs always does"),
        Sysctl("sync_persist_mode", "0", "only templates are sent to backups", _SYNC),
        Sysctl("sync_ports", "1", "threads and ports of the synchronisation", _SYNC, read=_ports),
        Sysctl("sync_qlen_max", "0", "messages that may wait", _SYNC, read=_within(0, INT_MAX)),
        Sysctl("sync_refresh_period", "0", "seconds between messages of a connection", _SYNC),
        Sysctl("sync_retries", "0", "repetitions of messages", _SYNC, read=_within(0, 3)),
        Sysctl("sync_sock_size", "0", "socket buffer", _SYNC),
        Sysctl("sync_threshold", "3\t50", "packets until the first message, and between two", _SYNC, read=_threshold),
        Sysctl("sync_version", "1", "version of the messages", _SYNC, read=_within(0, 1)),
    )
}  # fmt: skip
"""By name."""

_PREFIXES = ("net.ipv4.vs.", "net/ipv4/vs/")


def lookup(name: str) -> Sysctl:
    """Return the switch of this name, which may be written as sysctl(8) does; raises `InvalidError`."""
    word = name
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    if word not in SYSCTLS:
        import difflib

        near = difflib.get_close_matches(word, SYSCTLS, 1)
        raise InvalidError(f"there is no sysctl {name!r}{f' (did you mean {near[0]}?)' if near else ''}")
    return SYSCTLS[word]


def read(name: str, text: str) -> str:
    """Return what a switch reads back when *text* was written to it; raises `InvalidError`."""
    found = lookup(name)
    try:
        return found.read(text)
    except InvalidError as err:
        raise InvalidError(f"sysctl {found.name}: {err}") from None


def value(given: Mapping[str, str], name: str) -> int:
    """Return the number that a switch of one number has, where *given* are those that were written."""
    return int(given.get(name) or SYSCTLS[name].default)
