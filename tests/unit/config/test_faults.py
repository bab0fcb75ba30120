"""What is wrong with a file: everything at once, each at its place, with the way out."""

from __future__ import annotations

import pytest

from xlvs.config import ConfigError, load

LISTEN = "listen: {address: 192.0.2.1, port: 80}"


def complaints(text: str) -> list[str]:
    """Return what is said about the file *text*, as LINE:COLUMN: MESSAGE."""
    with pytest.raises(ConfigError) as caught:
        load(text, filename="f", owner="o")
    assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
    return [str(problem).removeprefix("f:") for problem in caught.value.problems]


def service(rest: str) -> str:
    """Return a file with one service, whose second line is *rest*."""
    return f"services:\n- {LISTEN}\n  {rest}\n"


def test_everything_is_reported_at_once_in_the_order_of_the_file() -> None:
    """Unknown keys, wrong types, limits, duplicates and nonsense in one go."""
    text = """\
interfaces: {eth0: xpd}
defaults: {forward: masq}
servcies: []
services:
  - name: web
    listen: {address: 192.0.2.10, port: "80"}
    scheduler: mh
    options: {mh-port: yes, sh_port: true}
    servers:
      - {address: 10.0.0.1, wieght: 3, port: 70000}
      - {adress: 10.0.0.2}
  - name: web
    listen: {address: 192.0.2.10, port: 81}
    servers:
      - {address: "2001:db8::1"}
      - {address: 10.0.0.1}
      - {address: 10.0.0.1, weight: 2}
  - listen: {address: 192.0.2.10, port: 81}
"""
    assert complaints(text) == [
        "1:20: interfaces.eth0: unknown word 'xpd' (did you mean 'xdp'?)",
        "2:21: defaults.forward: unknown word 'masq' (did you mean 'nat'?)",
        "3:1: servcies: unknown key (did you mean 'services'?)",
        "6:41: services[0].listen.port: the text '80', not a whole number; write 80 without quotes",
        "8:24: services[0].options.mh-port: the text 'yes', not true or false; write true",
        "8:29: services[0].options.sh_port: unknown key (did you mean 'sh-port'?)",
        "10:29: services[0].servers[0].wieght: unknown key (did you mean 'weight'?)",
        "10:46: services[0].servers[0].port: 70000 is outside 0..65535",
        "11:10: services[0].servers[1].adress: unknown key (did you mean 'address'?)",
        "12:11: services[1].name: a service has the name 'web' already (in line 5)",
        "15:9: services[1].servers[0]: nat cannot carry IPv4 packets to the IPv6 server 2001:db8::1; "
        "only forward: ipip, gue, gre can",
        "17:9: services[1].servers[2]: the service has the server 10.0.0.1:81 already (in line 16)",
        "18:13: services[2].listen: a service listens on 192.0.2.10:81/tcp already (in line 12)",
    ]


@pytest.mark.parametrize(
    ("rest", "complaint"),
    [
        ("name: 12", "3:9: services[0].name: the number 12, not text; write it in quotes"),
        ("name: -x", "3:9: services[0].name: '-x': a name has letters, digits, '.', '-' and '_' only, "
         "and begins and ends with a letter or digit"),
        ("servers: {a: 1}", "3:12: services[0].servers: a mapping, not a list; begin each item with a dash"),
        ("servers:", "3:11: services[0].servers: nothing, not a list; give it a value or leave the key out"),
        ("servers: [x]", "3:13: services[0].servers[0]: the text 'x', not a mapping (key: value)"),
        ("servers: [{port: 1}]", "3:13: services[0].servers[0]: there is no key 'address'"),
        ("servers: [{address: 10.0.0.1/8}]", "3:23: services[0].servers[0].address: '10.0.0.1/8' is not an IP address "
         "(leave out the prefix length: 10.0.0.1)"),
        ("servers: [{address: 10.0.0.1:8080}]", "3:23: services[0].servers[0].address: '10.0.0.1:8080' is not an "
         "IP address (the port goes into a key of its own: address: 10.0.0.1, port: 8080)"),
        ("servers: [{address: a.example}]", "3:23: services[0].servers[0].address: 'a.example' is not an IP address; "
         "names are not looked up"),
        ("servers: [{address: '::ffff:10.0.0.1'}]", "3:23: services[0].servers[0].address: ::ffff:10.0.0.1 is an IPv4 "
         "address in IPv6 clothes; write 10.0.0.1"),
        ("servers: [{address: 10.0.0.1, weight: 1.5}]", "3:41: services[0].servers[0].weight: the number 1.5, "
         "not a whole number"),
        ("servers: [{address: 10.0.0.1, weight: true}]", "3:41: services[0].servers[0].weight: true, "
         "not a whole number"),
        ("servers: [{address: '2001:db8::1', forward: route}]", "3:13: services[0].servers[0]: route cannot carry IPv4 "
         "packets to the IPv6 server 2001:db8::1; only forward: ipip, gue, gre can"),
        ("scheduler: wlcc", "3:14: services[0].scheduler: unknown word 'wlcc' (did you mean 'wlc'?)"),
        ("table: 65521", "3:10: services[0].table: the size of a table is for the scheduler mh; this service has wlc"),
        ("scheduler: mh\n  table: 65536", "4:10: services[0].table: the number 65536 is not one of 251, 509, 1021, "
         "2039, 4093, 8191, 16381, 32749, 65521, 131071"),
        ("options: {mh-port: true}", "3:22: services[0].options.mh-port: mh-port is an option of the scheduler mh; "
         "this service has wlc"),
        ("persistence: {timeout: 5x}", "3:26: services[0].persistence.timeout: '5x': write seconds, or a text such "
         "as 300s, 5m or 1h"),
        ("persistence: {netmask: 33}", "3:26: services[0].persistence.netmask: an IPv4 address has 32 bits, not 33"),
        ("ops: true", "2:3: services[0]: one-packet scheduling is for udp and firewall marks only, not for "
         "192.0.2.1:80/tcp"),
        ("servers: [{address: 10.0.0.1, forward: gue}]", "3:13: services[0].servers[0]: the forwarding method gue "
         "needs the UDP port of the tunnel, in 1..65535"),
        ("servers: [{address: 10.0.0.1, upper: 9, lower: 10}]", "3:50: services[0].servers[0].lower: lower (10) is "
         "above upper (9)"),
        ("address: {device: eth0/1}", "3:21: services[0].address.device: 'eth0/1': not a name of an interface"),
        ("address: {}", "3:12: services[0].address: there is no key 'device'"),
        ("xyz: 1", "3:3: services[0].xyz: unknown key (one of listen, name, match, address, scheduler, options, table, "
         "persistence, ops, servers, health)"),
    ],
)  # fmt: skip
def test_one_fault_one_sentence(rest: str, complaint: str) -> None:
    """Each fault has its place, its reason and, where there is one, its cure."""
    found = complaints(service(rest))
    assert complaint in found
    assert [other for other in found if "not supported yet" not in other and other != complaint] == []


@pytest.mark.parametrize(
    ("listen", "complaint"),
    [
        ("{address: 192.0.2.1, port: 80, family: 4}", "services[0].listen.family: family is for a service by mark; an "
         "address has its own, so leave this out"),
        ("{mark: 7, port: 80}", "services[0].listen: mark and port exclude each other: a service is one or the other"),
        ("{port: 80}", "services[0].listen: listen lacks its address; "
         "write {address: 192.0.2.1, port: 80, protocol: tcp}"),
        ("{address: 192.0.2.1, port: 0}", "services[0]: virtual service 192.0.2.1:0/tcp takes every port, so it "
         "must be persistent"),
        ("{address: 192.0.2.1, port: 65536}", "services[0].listen.port: 65536 is outside 0..65535"),
        ("{address: 192.0.2.1, port: 80, protocol: TCP}",
         "services[0].listen.protocol: unknown word 'TCP' (did you mean 'tcp'?)"),
        ("{address: 192.0.2.1, port: 80, proto: tcp}",
         "services[0].listen.proto: unknown key (did you mean 'protocol'?)"),
        ("192.0.2.1:80", "services[0].listen: the text '192.0.2.1:80', not a mapping (key: value)"),
    ],
)  # fmt: skip
def test_listen(listen: str, complaint: str) -> None:
    """A service has an address and a port, or a mark."""
    assert complaint in [line.split(" ", 1)[1] for line in complaints(f"services: [{{listen: {listen}}}]")]


def test_a_device_makes_no_sense_for_a_mark() -> None:
    """A service by firewall mark has no address that could be put anywhere."""
    found = complaints("services: [{listen: {mark: 1}, address: {device: eth0}}]")
    assert any("services[0].address: a service by firewall mark has no virtual address" in line for line in found)


@pytest.mark.parametrize(
    ("match", "complaint"),
    [
        ("{address: 192.0.2.1/24}", "192.0.2.1/24 is no network: bits behind the first 24 are set"),
        ("{address: 192.0.2.1, ports: 9-8}", "ports 9-8 are no range within 0-65535"),
        ("{address: web}", "'web' is not an IP address"),
        ("{address: 192.0.2.1, protocol: sctp}", "unknown word 'sctp' (one of tcp, udp)"),
    ],
)
def test_what_matches_nothing_is_told_with_its_place(match: str, complaint: str) -> None:
    """Each rule that is wrong, and the right ones beside it are not."""
    found = complaints(f"services:\n- listen: {{mark: 1}}\n  match:\n  - {{address: 10.0.0.0/8}}\n  - {match}\n")
    assert [line.split(": ", 1)[0].split(":")[0] for line in found] == ["5"]
    assert "services[0].match[1]" in found[0] and complaint in found[0]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_file_is_refused(text: str) -> None:
    """A file that was emptied by accident must not remove every service."""
    assert complaints(text) == ["1:1: the file is empty; one without services says `services: []`"]


@pytest.mark.parametrize("text", ["5", "[]", "word"])
def test_a_document_is_a_mapping(text: str) -> None:
    """Anything else has no keys to look at."""
    assert "not a mapping (key: value)" in complaints(text)[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("services:\n  - listen: {a: 1", "2:17: not YAML: did not find expected ',' or '}'"),
        ("services:\n\t- x", "2:1: not YAML: lines are indented with blanks, never with tabs"),
        ("a: *b", "1:4: there is no anchor &b before this alias"),
        ("a: &b [*b]", "1:8: the alias *b stands inside what it names"),
        ("a: 1\n---\nb: 1", "2:1: a second document begins here; a file holds one"),
        ("[" * 90, "1:65: nested too deeply (at most 64 levels)"),
        ("? [a]\n: 1", "1:3: a key is one word, not a list or a mapping"),
        ("a: \x01", "1:4: there is a character that may not be in YAML"),
        ("a: \ud800", "1:1: the text has half a character: a surrogate without the other"),
    ],
)
def test_what_is_not_yaml_is_told_with_its_place(text: str, complaint: str) -> None:
    """Syntax comes before everything else."""
    found = complaints(text)
    assert len(found) == 1
    assert found[0].split(":")[0] == complaint.split(":")[0]
    assert found[0].split(": ", 1)[1] == complaint.split(": ", 1)[1]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("services: []\nservices: []", "2:1: the key 'services' is here a second time (the first is in line 1)"),
        (
            '{"services": [],\n "services": []}',
            "2:2: the key 'services' is here a second time (the first is in line 1)",
        ),
    ],
)
def test_a_key_that_is_there_twice_is_refused(text: str, place: str) -> None:
    """YAML and JSON readers keep the last one silently, which nobody wants."""
    assert complaints(text) == [place]


def test_tags_and_merges_of_no_mapping_are_refused() -> None:
    """YAML's own extras have no meaning here."""
    assert complaints("services: !!python/tuple []") == [
        "1:11: the tag tag:yaml.org,2002:python/tuple is not for configurations; leave it out"
    ]
    assert complaints("<<: 5\nservices: []") == ["1:5: << takes a mapping, such as the alias *NAME of one"]


def test_a_small_file_that_means_a_huge_one_is_refused() -> None:
    """Aliases of aliases cannot fill the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "the document is too large" in complaints("\n".join(lines))[0]


def test_faults_in_what_an_alias_stands_for_have_the_place_of_the_text() -> None:
    """The place is where the operator has to change something."""
    text = f"services:\n- &a\n  {LISTEN}\n  table: 251\n- <<: *a\n  listen: {{address: 192.0.2.2, port: 80}}"
    fault = "the size of a table is for the scheduler mh; this service has wlc"
    assert complaints(text) == [f"4:10: services[0].table: {fault}", f"4:10: services[1].table: {fault}"]


def test_interfaces_whose_names_are_numbers() -> None:
    """Faults are told of those, too."""
    assert complaints("interfaces: {80: xpd, '007': null}") == [
        "1:18: interfaces.80: unknown word 'xpd' (did you mean 'xdp'?)",
        "1:30: interfaces.007: nothing is not one of auto, none, tc, xdp",
    ]


def test_timeouts_and_sysctls() -> None:
    """Every one that is wrong is told, with those of services."""
    text = "timeouts: {tcp: 0, udp: 900h, fin: 1}\nsysctls: {slopy_tcp: 1, drop_entry: 7, pmtu_disc: x}\nservices: [{}]"
    assert complaints(text) == [
        "1:17: timeouts.tcp: 0 is outside 1..2147483647",
        "1:25: timeouts.udp: 3240000 seconds are more than 2678400, 31 days",
        "1:31: timeouts.fin: unknown key (did you mean 'tcpfin'?)",
        "2:22: sysctls.slopy_tcp: there is no sysctl 'slopy_tcp' (did you mean sloppy_tcp?)",
        "2:37: sysctls.drop_entry: sysctl drop_entry: 7 is outside 0..3",
        "2:51: sysctls.pmtu_disc: sysctl pmtu_disc: 'x' is no number",
        "3:12: services[0]: there is no key 'listen'",
    ]
