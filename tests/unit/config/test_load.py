"""Reading a configuration file that is right."""

from __future__ import annotations

import json

import pytest
from msgspec import UNSET

from xlvs.config import dump, load
from xlvs.config.reader import read_json, read_yaml
from xlvs.model import Address, Server, Service, ServiceKey

OWNER = "config:/etc/xlvs.yaml"


def services(text: str) -> tuple[Service, ...]:
    """Return the services of the file *text*."""
    return load(text, filename="xlvs.yaml", owner=OWNER).services


def test_a_whole_file_is_read() -> None:
    """Every key has its effect, and everything belongs to the owner."""
    text = """
interfaces: {eth0: xdp, eth1: tc}
defaults: {scheduler: rr, forward: route, weight: 5}
services:
  - name: web
    listen: {address: 192.0.2.10, port: 80, protocol: tcp}
    address: {device: eth0}
    scheduler: mh
    options: {mh-port: true, mh-fallback: true, flag-3: true}
    servers:
      - {address: 10.0.0.11, port: 8080, weight: 3, forward: nat}
      - {address: "2001:db8::1", forward: ipip}
  - listen: {address: "2001:db8::53", port: 53, protocol: udp}
"""
    document = load(text, filename="xlvs.yaml", owner=OWNER)
    assert document.interfaces == {"eth0": "xdp", "eth1": "tc"}
    servers = (
        Server(Address.parse("10.0.0.11"), 8080, "nat", 3, owner=OWNER),
        Server(Address.parse("2001:db8::1"), 80, "ipip", 5, owner=OWNER),
    )
    flags = frozenset({"flag-1", "flag-2", "flag-3"})
    assert document.services == (
        Service(ServiceKey("tcp", Address.parse("192.0.2.10"), 80), "mh", flags, servers, "web", "eth0", OWNER),
        Service(ServiceKey("udp", Address.parse("2001:db8::53"), 53), "rr", owner=OWNER),
    )


def test_defaults_of_a_file_that_says_little() -> None:
    """Without more, a service is tcp and wlc, a server nat with weight 1 on the service's port."""
    (service,) = services("services: [{listen: {address: 192.0.2.1, port: 443}, servers: [{address: 10.0.0.1}]}]")
    assert (service.key.protocol, service.scheduler, service.name, service.device) == ("tcp", "wlc", "", "")
    assert service.servers == (Server(Address.parse("10.0.0.1"), 443, "nat", 1, owner=OWNER),)


@pytest.mark.parametrize(
    ("text", "interfaces"),
    [
        ("services: []", UNSET),
        ("interfaces: auto", None),
        ("interfaces: {}", {}),
        ("interfaces: {lo: none}", {"lo": "none"}),
    ],
)
def test_interfaces(text: str, interfaces: object) -> None:
    """auto leaves the choice to xlvs; a file that does not say it changes nothing."""
    assert load(text, filename="f", owner=OWNER).interfaces == interfaces


def test_anchors_aliases_and_merge_keys() -> None:
    """What YAML has against repetition works, and a key of one's own comes before a merged one."""
    text = """
services:
  - &base
    listen: {address: 192.0.2.1, port: 80}
    scheduler: rr
    servers: &servers
      - {address: 10.0.0.1}
  - <<: *base
    scheduler: lc
    listen: {address: 192.0.2.2, port: 80}
  - <<: [{servers: *servers}, *base]
    listen: {address: 192.0.2.3, port: 80}
"""
    assert [(s.scheduler, len(s.servers)) for s in services(text)] == [("rr", 1), ("lc", 1), ("rr", 1)]


def test_json_is_read_as_yaml_is() -> None:
    """The same document in JSON, with tabs or without, is the same."""
    text = "services: [{name: 'on', listen: {address: 192.0.2.1, port: 80}, servers: [{address: 10.0.0.1, weight: 0}]}]"
    value = read_yaml(text).value
    for indent in (None, 2, "\t"):
        assert read_json(json.dumps(value, indent=indent)) == value
        assert services(json.dumps(value, indent=indent)) == services(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("no", "no"), ("y", "y"), ("true", True), ("False", False), ("~", None), ("", None),
        ("1:30", "1:30"), ("010", 10), ("0o10", 8), ("0x10", 16), ("1_000", "1_000"), ("1e3", 1000.0), ("-1", -1),
        ("2001-01-01", "2001-01-01"), ("'80'", "80"), ('"true"', "true"), ("!!str 80", "80"), ("1.2.3.4", "1.2.3.4"),
        ("9" * 5000, "9" * 5000),
    ],
)  # fmt: skip
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    """Only true and false are booleans, and neither times nor dates are numbers (YAML 1.2.2, §10.3)."""
    found = read_yaml(f"key: {text}").value["key"]
    assert (found, type(found)) == (value, type(value))


def test_keys_are_text_whatever_they_look_like() -> None:
    """An interface may have a name that looks like a number."""
    assert load("interfaces: {1: tc, on: xdp}", filename="f", owner=OWNER).interfaces == {"1": "tc", "on": "xdp"}


def test_durations() -> None:
    """Seconds may be a number or a text with its unit."""
    for timeout, seconds in (("300", 300), ("300s", 300), ("5m", 300), ("1h", 3600), ('"60"', 60)):
        text = f"services: [{{listen: {{address: 192.0.2.1, port: 80}}, persistence: {{timeout: {timeout}}}}}]"
        (found,) = load(text, filename="f", owner=OWNER).services
        assert found.persistent == seconds


def test_what_a_service_can_be_beside_an_address() -> None:
    """By mark, of every port, persistent by network, without flows; and servers in tunnels."""
    mark, every, once = services(
        """
services:
  - {listen: {mark: 7, family: 6}, persistence: {timeout: 5m, netmask: 64}}
  - listen: {address: 192.0.2.1, port: 0}
    persistence: {netmask: 20}
    servers: [{address: 10.0.0.1, forward: gue, tunnel: {port: 6080, checksum: remote}}]
  - {listen: {address: 192.0.2.1, port: 53, protocol: udp}, ops: true}
"""
    )
    assert (mark.key, mark.persistent, mark.netmask) == (ServiceKey.of_mark(7, 6), 300, "64")
    assert (every.persistent, every.netmask, every.key.port) == (300, "255.255.240.0", 0)
    assert (every.servers[0].tunnel_port, every.servers[0].tunnel_checksum) == (6080, "remote")
    assert once.ops and not once.persistent


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    """Editors of another system put one in front."""
    assert services("\ufeffservices: []") == ()


def test_an_engine() -> None:
    """SIP calls instead of clients."""
    text = (
        "services: [{listen: {address: 192.0.2.1, port: 5060, protocol: udp}, persistence: {engine: sip}, ops: true}]"
    )
    (found,) = services(text)
    assert (found.engine, found.persistent, found.ops) == ("sip", 300, True)
    assert services(dump([found])) == (found,)
