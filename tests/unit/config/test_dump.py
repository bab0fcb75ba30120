"""Writing a configuration file."""

from __future__ import annotations

import string

import yaml
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from xlvs.config import dump, load
from xlvs.model import Address, Server, Service, ServiceKey

OWNER = "o"

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str).filter(
    lambda text: not text.startswith("::ffff:")
)  # fmt: skip
names = st.one_of(
    st.sampled_from(
        ["", "on", "no", "null", "1e3", "0o17", "0x1F", "1_000", "12", "1.5", "1.2.3", "true", "2001-01-01"]
    ),
    st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?\Z"),
)
devices = st.one_of(
    st.just(""), st.text(string.ascii_letters + string.digits + ".-_@~!#&*?|<>%'\"`,[]{}=+é", min_size=1, max_size=15)
)
flags = st.frozensets(st.sampled_from(["flag-1", "flag-2", "flag-3"]))


@st.composite
def services(draw: st.DrawFn) -> tuple[Service, ...]:
    """Draw services that a file can have."""
    keys = draw(st.lists(st.tuples(st.sampled_from(["tcp", "udp"]), addresses, st.integers(1, 65535)), unique=True))
    seen: set[str] = set()
    found = {}
    for protocol, address, port in keys:
        key = ServiceKey(protocol, Address.parse(address), port)
        name = draw(names)
        name = "" if name in seen else name
        seen.add(name)
        scheduler = draw(st.sampled_from(["rr", "wrr", "lc", "wlc", "lblcr", "twos", "sh", "mh"]))
        table = draw(st.sampled_from([0, 251, 131071])) if scheduler == "mh" else 0
        own = draw(servers(key))
        found[key] = Service(key, scheduler, draw(flags), own, name, draw(devices), OWNER, table=table)
    return tuple(found.values())


@st.composite
def servers(draw: st.DrawFn, key: ServiceKey) -> tuple[Server, ...]:
    """Draw servers that a service can have."""
    found = {}
    for text in draw(st.lists(st.one_of(st.just("10.0.0.1"), st.just("2001:db8::1"), st.just("10.0.0.2")), max_size=4)):
        address = Address.parse(text)
        same = address.version == key.address.version
        forward = draw(st.sampled_from(["nat", "route", "ipip"] if same else ["ipip"]))
        port, weight = draw(st.integers(0, 65535)), draw(st.integers(0, 65535))
        upper = draw(st.integers(0, 0xFFFFFFFF))
        lower = draw(st.integers(0, upper))
        found[address, port] = Server(address, port, forward, weight, upper, lower, OWNER)
    return tuple(found.values())


interfaces = st.one_of(
    st.just(UNSET), st.none(), st.dictionaries(devices.filter(bool), st.sampled_from(["xdp", "tc", "none", "auto"]))
)


@given(services(), interfaces)
def test_what_is_written_is_read_back_equal(have: tuple[Service, ...], mode: dict[str, str] | None) -> None:
    """Whatever names and addresses look like."""
    document = load(dump(have, interfaces=mode), filename="f", owner=OWNER)
    assert (document.services, document.interfaces) == (have, mode)


@given(services())
def test_other_readers_of_yaml_see_the_same(have: tuple[Service, ...]) -> None:
    """Names stay text in YAML 1.1, too."""
    names = [entry.get("name", "") for entry in yaml.safe_load(dump(have))["services"]]
    assert names == [service.name for service in have]


def test_how_it_looks() -> None:
    """A line per server, and options in the words of the scheduler."""
    key = ServiceKey("tcp", Address.parse("192.0.2.1"), 80)
    server = Server(Address.parse("10.0.0.1"), 8080, "nat", 3)
    service = Service(key, "mh", frozenset({"flag-2", "flag-3"}), (server,), "web", "eth0")
    assert (
        dump([service], interfaces=None)
        == """\
interfaces: auto
services:
- name: web
  listen: {address: 192.0.2.1, port: 80, protocol: tcp}
  address: {device: eth0}
  scheduler: mh
  options: {mh-port: true, flag-3: true}
  servers:
  - {address: 10.0.0.1, port: 8080, forward: nat, weight: 3}
"""
    )
