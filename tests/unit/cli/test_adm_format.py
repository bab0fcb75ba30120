"""The tables: numbers, columns, flags and order."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from xlvs.cli.adm.connections import format_connections
from xlvs.cli.adm.format import Names, format_list, format_rules
from xlvs.cli.adm.order import sort_servers

ZERO = {"conns": 0, "in_pkts": 0, "out_pkts": 0, "in_bytes": 0, "out_bytes": 0}


def server(address: str = "10.0.0.2", **fields: Any) -> dict[str, Any]:
    """Return a real server as the daemon lists it."""
    row = {"address": address, "port": 80, "forward": "nat", "weight": 1, "upper": 0, "lower": 0}
    return {**row, "active": 0, "inactive": 0, "persistent": 0, "stats": ZERO, "rates": ZERO, **fields}


def reply(*servers: dict[str, Any], address: str = "10.0.0.1", **fields: Any) -> list[dict[str, Any]]:
    """Return the services that the daemon lists: one."""
    listen = {"protocol": "tcp", "address": address, "port": 80}
    service = {"listen": listen, "scheduler": "wlc", "flags": [], "stats": ZERO, "rates": ZERO}
    service |= {"persistent": 0, "netmask": "", "engine": "", "ops": False}
    return [{**service, "servers": list(servers), **fields}]


def lines(services: list[dict[str, Any]], *options: str) -> list[str]:
    """Return the lines of a numeric table below its titles."""
    return format_list(services, {"numeric", *options}, single=True).splitlines()[2:]


@pytest.mark.parametrize(
    ("number", "short", "exact"),
    [
        (99999999, " 99999999", " 99999999"),
        (100000000, "  100000K", " 100000000"),
        (999999999, "  999999K", " 999999999"),
        (1000000000, "    1000M", " 1000000000"),
        (99999999999, "   99999M", " 99999999999"),
        (100000000000, "     100G", " 100000000000"),
        (100000000000000, "     100T", " 100000000000000"),
    ],
)
def test_large_numbers_are_shortened_unless_exact(number: int, short: str, exact: str) -> None:
    """K, M, G and T are powers of ten and begin where ipvsadm begins them."""
    stats = {**ZERO, "in_bytes": number}
    answer = reply(stats=stats)
    assert lines(answer, "stats") == [f"{'TCP  10.0.0.1:80':33}" + "        0" * 3 + short + "        0"]
    assert lines(answer, "stats", "exact") == [f"{'TCP  10.0.0.1:80':33}" + "        0" * 3 + exact + "        0"]


def test_rates_of_a_server_are_not_shortened_but_its_bytes_are() -> None:
    """Connections and packets per second have their own columns, bytes those of the totals."""
    rates = {"conns": 10**8, "in_pkts": 2, "out_pkts": 3, "in_bytes": 10**8, "out_bytes": 5}
    assert lines(reply(server(rates=rates)), "rate")[1] == (
        "  -> 10.0.0.2:80                  100000000        2        3  100000K        5"
    )


def test_other_columns_of_a_server() -> None:
    """Thresholds, weights with persistent connections, and tunnels."""
    tunnel = server(forward="ipip", weight=5, upper=9, lower=7, active=3, inactive=2, persistent=1)
    assert (
        lines(reply(tunnel), "thresholds")[1] == f"  -> {'10.0.0.2:80':28} 9          7          3          2         "
    )
    assert lines(reply(tunnel), "persistent-conn")[1] == (
        f"  -> {'10.0.0.2:80':28} 5         1           3          2         "
    )
    assert lines(reply(tunnel), "tun-info")[1] == (
        f"  -> {'10.0.0.2:80':28} Tunnel  ipip          5      3          2         "
    )
    assert lines(reply(server()), "tun-info")[1] == (
        f"  -> {'10.0.0.2:80':28} Masq    n/a           1      0          0         "
    )


@pytest.mark.parametrize(
    ("scheduler", "flags", "printed"),
    [
        ("sh", ["flag-2", "flag-1"], "sh-fallback,sh-port"),
        ("mh", ["flag-2"], "mh-port"),
        ("rr", ["flag-3", "flag-1"], "flag-1,flag-3"),
    ],
)
def test_flags_are_named_after_their_scheduler(scheduler: str, flags: list[str], printed: str) -> None:
    """Flags of sh and mh have words, those of others numbers; always in the same order."""
    answer = reply(scheduler=scheduler, flags=flags)
    assert lines(answer) == [f"TCP  10.0.0.1:80 {scheduler} ({printed})"]
    assert format_rules(answer, {"numeric"}) == f"-A -t 10.0.0.1:80 -s {scheduler} -b {printed}\n"


def test_ipv6_is_bracketed_and_never_cut() -> None:
    """IPv6 addresses stand in brackets, at full length, in the C library's spelling."""
    long = "2001:db8:1111:2222:3333:4444:5555:6666"
    assert lines(reply(server(long), address="::ffff:a00:1"))[:2] == [
        "TCP  [::ffff:10.0.0.1]:80 wlc",
        f"  -> [{long}]:80 Masq    1      0          0         ",
    ]


def test_names_are_cut_as_ipvsadm_cuts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long IPv4 name loses its end: 33 characters for a service, 28 for a server, 59 in rules."""
    name = "a" * 20 + "." + "b" * 50
    monkeypatch.setattr(socket, "gethostbyaddr", lambda _address: (name, [], []))
    monkeypatch.setattr(socket, "getservbyport", lambda _port, _protocol: "http")
    assert format_list(reply(server()), set(), single=True).splitlines()[2:] == [
        f"TCP  {name[:28]} wlc",
        f"  -> {name[:28]} Masq    1      0          0         ",
    ]
    assert format_rules(reply(), set()) == f"-A -t {name[:59]} -s wlc\n"


def test_each_name_is_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of thousands of servers must not ask the resolver thousands of times for one of them."""
    asked = []

    def resolve(address: str) -> tuple[str, list[str], list[str]]:
        asked.append(address)
        return "web", [], []

    monkeypatch.setattr(socket, "gethostbyaddr", resolve)
    names = Names(numeric=False)
    assert [names.endpoint("10.0.0.1", 1, "tcp") for _ in range(3)]
    assert asked == ["10.0.0.1"]


FLOWS = b"protocol,expires_s,state,client,virtual,server\n"


def test_flow_that_lasts_long_and_uses_ipv6() -> None:
    """Minutes may have three digits and addresses may be wider than their column."""
    row = b"udp,6001,UDP,[2001:db8::7]:4000,[2001:db8::1]:53,10.0.0.2:53\n"
    assert "".join(format_connections([FLOWS, row], {"numeric"})).splitlines()[2:] == [
        "UDP 100:01 UDP         [2001:db8::7]:4000 [2001:db8::1]:53   10.0.0.2:53"
    ]


def test_flows_of_many_blocks_are_one_table() -> None:
    """However much the daemon sends at once."""
    rows = [f"tcp,{i},ESTABLISHED,192.0.2.{i}:4000,192.0.2.1:80,10.0.0.2:80\n".encode() for i in range(4)]
    whole = "".join(format_connections([FLOWS + b"".join(rows)], {"numeric"}))
    assert "".join(format_connections([FLOWS + rows[0], rows[1] + rows[2], rows[3]], {"numeric"})) == whole
    assert whole.splitlines()[5] == "TCP 00:03  ESTABLISHED 192.0.2.3:4000     192.0.2.1:80       10.0.0.2:80"


def test_ends_of_flows_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless numbers are asked for, of both families."""
    monkeypatch.setattr(socket, "gethostbyaddr", lambda address: (f"name-{address[-1]}", [], []))
    monkeypatch.setattr(socket, "getservbyport", lambda port, protocol: f"{protocol}-{port}")
    row = b"udp,1,UDP,[2001:db8::7]:4000,192.0.2.1:53,10.0.0.2:53\n"
    assert "".join(format_connections([FLOWS, row], set())).splitlines()[2].split()[3:] == [
        "[name-7]:udp-4000", "name-1:udp-53", "name-2:udp-53"
    ]  # fmt: skip


def order(*addresses: str) -> list[str]:
    """Return *addresses*, given oldest first, as ipvsadm lists them."""
    rows = [{"address": address, "port": 80} for address in addresses]
    return [row["address"] for row in sort_servers(rows, Names(numeric=True).pack)]


def test_addresses_are_compared_as_signed_differences() -> None:
    """An address more than half the address space above another comes before it."""
    assert order("10.0.1.11", "203.0.113.9") == ["203.0.113.9", "10.0.1.11"]
    assert order("10.0.1.11", "127.0.0.1") == ["10.0.1.11", "127.0.0.1"]
    assert order("10.0.1.11", "fd00::1") == ["fd00::1", "10.0.1.11"]
    assert order("fd00::2", "fd00::10", "fd00::1") == ["fd00::1", "fd00::2", "fd00::10"]


@pytest.mark.parametrize("first", range(3))
def test_circle_of_addresses_keeps_a_possible_order(first: int) -> None:
    """Each of these comes before the next, all around; a saved table of them must come back as it was."""
    circle = ["10.0.0.1", "100.0.0.1", "203.0.0.1"]
    turned = circle[first:] + circle[:first]
    assert order(*turned) == turned
    assert order(*reversed(turned)) in [circle[i:] + circle[:i] for i in range(3)]
