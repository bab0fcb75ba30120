"""Numbers, addresses and whole command lines as ipvsadm reads them."""

from __future__ import annotations

import socket

import pytest

from xlvs.cli.adm.address import is_unicast, parse_endpoint, parse_leading_number, parse_number
from xlvs.cli.adm.errors import Refused, Stop
from xlvs.cli.adm.parse import parse


@pytest.fixture(autouse=True)
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know one host and one port by name, and ask nobody."""

    def host(name: str, *_rest: object) -> list[tuple[object, ...]]:
        if name != "web":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 0))]

    def port(name: str, protocol: str) -> int:
        if (name, protocol) != ("http", "tcp"):
            raise OSError("service/proto not found")
        return 80

    monkeypatch.setattr(socket, "getaddrinfo", host)
    monkeypatch.setattr(socket, "getservbyname", port)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("+7", 7),
        (" 7", 7),
        ("007", 7),
        ("100", 100),
        ("101", None),
        ("-1", None),
        ("7 ", None),
        ("7x", None),
        ("", None),
        ("-", None),
        ("٣", None),
        ("9" * 5000, None),
    ],
)
def test_number_is_what_strtol_reads_to_the_end(text: str, number: int | None) -> None:
    """Leading blanks and a sign are allowed, anything behind the digits is not."""
    assert parse_number(text, 0, 100) == number


@pytest.mark.parametrize(("text", "number"), [("64", 64), ("64x", 64), ("-3", -3), ("x", 0), ("", 0), ("-", 0)])
def test_leading_number_is_what_atoi_reads(text: str, number: int) -> None:
    """What is behind the digits does not matter; no digits are 0."""
    assert parse_leading_number(text) == number


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("10.0.0.1:http", "10.0.0.1", 80),
        ("10.0.0.1", "10.0.0.1", None),
        ("10.1:80", "10.0.0.1", 80),
        ("web:80", "10.0.0.7", 80),
        ("[fd00::1]:80", "fd00::1", 80),
        ("fd00::1", "fd00::1", None),
        ("fd00::1:80", "fd00::1:80", None),
        ("[10.0.0.1]:80", "10.0.0.1", None),
        ("[10.0.0.1:81]:80", "10.0.0.1", 81),
    ],
)
def test_endpoint(text: str, address: str, port: int | None) -> None:
    """An address or name with or without port; brackets are for IPv6, and their port is lost on IPv4."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert parse_endpoint(text, "tcp") == (socket.inet_pton(family, address), port)


@pytest.mark.parametrize(
    "text",
    ["", "80", ":80", "10.0.0.1:", "10.0.0.1:x", "10.0.0.1:65536", "[fd00::1]", "[fd00::1", "no.such:80", "a\0b:80"],
)
def test_no_endpoint(text: str) -> None:
    """A bare number, a bad port, an unknown name and open brackets are no endpoint."""
    assert parse_endpoint(text, "tcp") is None


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("10.0.0.1", True),
        ("127.0.0.1", True),
        ("240.0.0.1", True),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("fd00::1", True),
        ("::1", True),
        ("::", False),
        ("ff02::1", False),
        ("fe80::1", False),
    ],
)
def test_unicast(address: str, good: bool) -> None:
    """A real server has an address of one host."""
    assert is_unicast(socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)) is good


def test_defaults_of_a_service() -> None:
    """Without ``-s`` a service is wlc without flags, however often it is edited."""
    command = parse(["-E", "-t", "10.0.0.1:80"])
    assert (command.name, command.scheduler, command.flags) == ("edit-service", "wlc", frozenset())


def test_flags_have_two_names() -> None:
    """The flags of sh and mh are the kernel's numbered ones, in any order and with empty words between."""
    assert parse(["-At", "10.0.0.1:80", "-b", ",sh-port,sh-fallback", "-s", "sh"]).flags == {"flag-1", "flag-2"}


def test_defaults_of_a_server() -> None:
    """Direct routing, weight 1, and the port of the service."""
    command = parse(["-a", "-t", "10.0.0.1:80", "-r", "10.0.0.2"])
    assert (command.forward, command.weight, command.server_port) == ("route", 1, 80)


@pytest.mark.parametrize(("switch", "port"), [("-m", 8080), ("-g", 80), ("-i", 80)])
def test_only_nat_keeps_the_port_of_the_server(switch: str, port: int) -> None:
    """Direct routing and tunnels silently use the port of the service."""
    assert parse(["-a", "-t", "10.0.0.1:80", "-r", "10.0.0.2:8080", switch]).server_port == port


def test_server_before_service_has_no_port_to_copy() -> None:
    """The port of the service is copied when ``-r`` is read, so it must have been read."""
    assert parse(["-a", "-r", "10.0.0.2", "-t", "10.0.0.1:80", "-m"]).server_port == 0


@pytest.mark.parametrize(
    ("line", "status", "text"),
    [
        ("-A -t 10.0.0.1:80 -b sh-port", 2, "incompatible scheduler flag `sh-port'\n"),
        ("-A -t 10.0.0.1:80 -b x", 2, "invalid scheduler flag `x'\n"),
        ("-A -t 10.0.0.1:80 -o", 2, "One-Packet Scheduling is only for UDP virtual services\n"),
        ("-A -t 10.0.0.1:80 -s rr -s rr", 2, "multiple 'scheduler' options specified\n"),
        ("-A -t 10.0.0.1:80 --start-daemon master", 2, "invalid option `master'\n"),
        ("-a -t 10.0.0.1:80 -r 10.0.0.2 -g --tun-type ipip", 2, "Tunnel options conflict with forward method\n"),
        (
            "-a -t 10.0.0.1:80 -r 10.0.0.2 -i --tun-csum",
            2,
            "Illegal 'tun-csum' option with the 'ipip' tunnel type\n",
        ),
        ("-L --daemon --persistent-conn", 2, "options conflicts in the list command\n"),
        ("-Z -n", 2, "Illegal 'numeric' option with the 'zero' command\n"),
        ("--start-daemon both", 2, "illegal start-daemon parameter specified\n"),
        ("--stop-daemon both", 2, "illegal start_daemon specified\n"),
        ("--start-daemon master --mcast-group fd00::1", 2, "invalid IPv6 mcast-group `fd00::1'\n"),
        ("--start-daemon master --sync-maxlen 65508", 2, "illegal sync-maxlen specified\n"),
        ("--set 1 2 2678401", 2, "invalid timeout value `2678401' specified\n"),
        ("-t 10.0.0.1:80 -A", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n"),
        ("--start-daemon", 255, "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n"),
    ],
)
def test_complaint_ends_the_program(line: str, status: int, text: str) -> None:
    """ipvsadm's own checks exit at once, with its own words and status."""
    with pytest.raises(Stop) as stop:
        parse(line.split())
    assert (stop.value.status, stop.value.text, stop.value.on_stdout) == (status, text, False)


def test_unreadable_option_ends_only_its_line() -> None:
    """What popt cannot read fails one command; a restore goes on."""
    with pytest.raises(Refused, match="^--exacty: unknown option$"):
        parse(["-L", "--exacty"])
