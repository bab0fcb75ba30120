"""One service is changed in a file, and every other byte stays."""

from __future__ import annotations

import difflib
import json

import pytest
from msgspec.structs import replace

from xlvs.config import ConfigError, load, rewrite
from xlvs.errors import InvalidError, NoSuchServiceError
from xlvs.model import Address, Server, Service

TEXT = """\
# head
interfaces:   auto      # why
defaults: { scheduler: wlc,forward: nat }

services:
  # about web
  - name: web      # the web
    listen: {address: 192.0.2.10, port: 80, protocol: tcp}
    scheduler: mh
    options: {mh-port: true}   # ports
    servers:
      # about one
      - {address: 10.0.0.11, port: 8080, weight: 3}   # one
      # about two
      - {address: 10.0.0.12, port: 8080}   # two
      # about three
      - address: "10.0.0.13"
        weight: 2  # w

      # about four
      - {address: 10.0.0.14}
      # end of web
  # about dns
  - listen:
      address: 192.0.2.10
      port: 53
      protocol: udp   # dns
# tail"""

NEW = Server(Address.parse("2001:db8::1"), 81, "ipip", 1, owner="o")


def read(text: str = TEXT) -> tuple[Service, ...]:
    """Return the services in *text*."""
    return load(text, filename="f", owner="o").services


def changed_lines(service: Service, text: str = TEXT) -> list[str]:
    """Return the lines that go (-) and come (+) if the file gets *service*."""
    found = difflib.ndiff(text.splitlines(), rewrite(text, service, filename="f").splitlines())
    return [line for line in found if line[0] in "+-"]


def test_what_is_said_already_stays_byte_for_byte() -> None:
    """Nothing is spaced anew."""
    assert rewrite(TEXT, read()[0], filename="f") == TEXT


def test_a_weight() -> None:
    """Where it is written in a line, in lines, and where it was left to the default."""
    web = read()[0]
    servers = [replace(server, weight=7) for server in web.servers]
    assert changed_lines(web.with_servers((*servers,))) == [
        "-       - {address: 10.0.0.11, port: 8080, weight: 3}   # one",
        "+       - {address: 10.0.0.11, port: 8080, weight: 7}   # one",
        "-       - {address: 10.0.0.12, port: 8080}   # two",
        "+       - {address: 10.0.0.12, port: 8080, weight: 7}   # two",
        "-         weight: 2  # w",
        "+         weight: 7  # w",
        "-       - {address: 10.0.0.14}",
        "+       - {address: 10.0.0.14, weight: 7}",
    ]


@pytest.mark.parametrize(
    ("gone", "lines"),
    [
        ({0}, ["-       - {address: 10.0.0.11, port: 8080, weight: 3}   # one"]),
        ({2}, ['-       - address: "10.0.0.13"', "-         weight: 2  # w"]),
        ({0, 1}, ["-       - {address: 10.0.0.11, port: 8080, weight: 3}   # one",
                  "-       - {address: 10.0.0.12, port: 8080}   # two"]),
        ({3}, ["-       - {address: 10.0.0.14}"]),
    ],
)  # fmt: skip
def test_a_server_goes(gone: set[int], lines: list[str]) -> None:
    """Its own lines go, and comments on lines of their own stay."""
    web = read()[0]
    assert changed_lines(web.with_servers(tuple(s for i, s in enumerate(web.servers) if i not in gone))) == lines


@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_server_comes(place: int) -> None:
    """In its place, in a line of its own."""
    web = read()[0]
    servers = (*web.servers[:place], NEW, *web.servers[place:])
    assert changed_lines(web.with_servers(servers)) == [
        "+       - {address: '2001:db8::1', port: 81, forward: ipip, weight: 1}"
    ]


def test_all_servers_go_and_the_first_comes() -> None:
    """A list without items is written as one."""
    web, dns = read()
    text = rewrite(TEXT, web.with_servers(()), filename="f")
    assert "    servers: []\n      # end of web\n" in text
    empty = read(text)[0]
    assert "    servers: [{address: '2001:db8::1'" in rewrite(text, empty.with_servers((NEW,)), filename="f")
    assert changed_lines(dns.with_servers((NEW,))) == [
        "+     servers: [{address: '2001:db8::1', port: 81, forward: ipip, weight: 1}]"
    ]


def test_scheduler_options_name_and_device() -> None:
    """Keys come, go and change."""
    web, dns = read()
    assert changed_lines(replace(web, scheduler="rr", flags=frozenset(), name="x", device="eth0")) == [
        "-   - name: web      # the web",
        "+   - name: x      # the web",
        "-     scheduler: mh",
        "+     scheduler: rr",
        "-     options: {mh-port: true}   # ports",
        "+     address: {device: eth0}",
    ]
    assert changed_lines(replace(web, flags=frozenset({"flag-1", "flag-2"}))) == [
        "-     options: {mh-port: true}   # ports",
        "+     options: {mh-port: true, mh-fallback: true}   # ports",
    ]
    assert changed_lines(replace(web, name="")) == [
        "-   - name: web      # the web",
        "-     listen: {address: 192.0.2.10, port: 80, protocol: tcp}",
        "+   - listen: {address: 192.0.2.10, port: 80, protocol: tcp}",
    ]
    assert changed_lines(replace(dns, name="dns", scheduler="rr")) == ["+     name: dns", "+     scheduler: rr"]


@pytest.mark.parametrize("indent", [None, 2])
def test_json_stays_json(indent: int | None) -> None:
    """With its quotes and its indentation."""
    text = json.dumps({"services": [{"listen": {"address": "192.0.2.1", "port": 80}, "servers": [
        {"address": "10.0.0.1"}, {"address": "10.0.0.2"}]}]}, indent=indent)  # fmt: skip
    (service,) = read(text)
    wanted = replace(service, name="web", servers=(replace(service.servers[1], weight=4), NEW))
    changed = rewrite(text, wanted, filename="f")
    assert json.loads(changed)["services"][0]["servers"][0] == {"address": "10.0.0.2", "weight": 4}
    assert read(changed) == (wanted,)


def test_line_ends_of_another_system_stay() -> None:
    """Every line ends as the others do."""
    text = TEXT.replace("\n", "\r\n")
    changed = rewrite(text, read(text)[0].with_servers((NEW, *read(text)[0].servers[1:])), filename="f")
    assert changed.count("\n") == changed.count("\r\n") == text.count("\n")


def test_what_a_merged_mapping_said_is_said_where_it_changes() -> None:
    """The anchor, and whoever else uses it, stay as they are."""
    text = """\
services:
- &base
  listen: {address: 192.0.2.1, port: 80}
  scheduler: rr
  servers: [{address: 10.0.0.1, port: 80}]
- <<: *base
  listen: {address: 192.0.2.2, port: 80}
"""
    second = read(text)[1]
    assert changed_lines(replace(second, scheduler="lc", servers=(*second.servers, NEW)), text) == [
        "+   scheduler: lc",
        "+   servers: [{address: 10.0.0.1, port: 80}, {address: '2001:db8::1', port: 81, forward: ipip, weight: 1}]",
    ]


def test_what_cannot_be_changed_alone_is_refused() -> None:
    """Servers that two services share, and servers in another order."""
    shared = """\
services:
- listen: {address: 192.0.2.1, port: 80}
  servers: &all [{address: 10.0.0.1, port: 80}]
- listen: {address: 192.0.2.2, port: 80}
  servers: *all
"""
    with pytest.raises(InvalidError, match="cannot be changed alone; edit the file"):
        rewrite(shared, read(shared)[1].with_servers(()), filename="f")
    web = read()[0]
    with pytest.raises(InvalidError, match="cannot be changed alone; edit the file"):
        rewrite(TEXT, web.with_servers(web.servers[::-1]), filename="f")


def test_a_file_that_is_not_what_it_was() -> None:
    """Faults are told as always, and a service that is gone is said to be."""
    web = read()[0]
    with pytest.raises(ConfigError):
        rewrite(TEXT.replace("scheduler: mh", "scheduler: mmh"), web, filename="f")
    with pytest.raises(NoSuchServiceError, match="f has no service 192.0.2.10:80/tcp"):
        rewrite(TEXT.replace("port: 80,", "port: 82,"), web, filename="f")
