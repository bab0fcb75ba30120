"""ICMP errors as a client meets them: a port nobody listens at, a service without servers, a TTL that is used up.

client ──┐           ┌── real1
         ├─ switch ──┼── real2
director ┘           └── real3
"""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.netns.capture import Capture, Error
from tests.netns.lab import HTTP, PEER, Lab, endpoint
from tests.netns.peer import seal
from xlvs.demo import netns, topology
from xlvs.demo.topology import VIP
from xlvs.demo.wait import until

CLOSED, CLOSED_BEHIND = 9, 10
"""The virtual port and the real servers' port at which nobody listens."""

DRAINED = 11
NO_PORT = {4: (3, 3), 6: (1, 4)}
TTL_EXCEEDED = {4: (11, 0), 6: (3, 0)}
MSG_ERRQUEUE = 0x2000
ORIGIN = {4: 2, 6: 3}  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6
RECVERR = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}  # IP_RECVERR, IPV6_RECVERR
DEFAULT_TTL = {4: "ipv4/ip_default_ttl", 6: "ipv6/conf/eth0/hop_limit"}
TTL = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@pytest.fixture(scope="module", params=["tc", "xdp"])
def nat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory with services nobody answers."""
    with Lab("nat", request.param, tmp_path_factory.mktemp("icmp")) as made:
        rules = []
        for family in (4, 6):
            address = topology.server_addresses(family)[0]
            real = f"[{address}]" if family == 6 else address
            closed, drained = (f"-u {endpoint(family, port)}" for port in (CLOSED, DRAINED))
            rules += [f"-A {closed}", f"-a {closed} -r {real}:{CLOSED_BEHIND} -m -w 1"]
            for service in (drained, drained.replace("-u", "-t")):
                rules += [f"-A {service}", f"-a {service} -r {real}:{PEER} -m -w 0"]
        made.director.admin("-R", stdin="\n".join(rules) + "\n")
        yield made


def assert_refused(sock: socket.socket) -> None:
    """Check that the next datagram's answer is a refusal."""
    sock.send(b"is anybody there?")
    with pytest.raises(ConnectionRefusedError):
        sock.recv(100)


def only(capture: Capture) -> Error:
    """Return the one error that was captured, if it is whole."""
    until(lambda: bool(capture.errors()), "no error came")
    (error,) = capture.errors()
    assert error.packet.header_is_valid() and error.packet.icmp_is_valid()
    assert error.quote.header_is_valid()
    return error


def test_closed_port_of_a_server_is_told_in_the_name_of_the_virtual_address(nat: Lab, family: int) -> None:
    """A server's port unreachable reaches the client as being about what the client sent."""
    nat.warm_up(family)
    with Capture(nat.topology.client) as capture, nat.datagram_socket(family, CLOSED) as sock:
        client, port = sock.getsockname()[:2]
        assert_refused(sock)
        error = only(capture)
    assert (error.kind, error.packet.addresses) == (NO_PORT[family], (VIP[family], client))
    assert (error.quote.addresses, error.quote.ports) == ((client, VIP[family]), (port, CLOSED))
    assert error.quote.payload[8:] == b"is anybody there?"
    assert nat.director.ask("counters")["icmp_relayed"] > 0


def test_service_without_servers_refuses_datagrams(nat: Lab, family: int) -> None:
    """With all weights 0 the director itself says port unreachable, quoting the datagram as it was sent."""
    with Capture(nat.topology.client) as capture, nat.datagram_socket(family, DRAINED) as sock:
        client, port = sock.getsockname()[:2]
        assert_refused(sock)
        error, sent = only(capture), next(packet for packet in capture.sent() if packet.protocol == 17)
    assert (error.kind, error.packet.addresses) == (NO_PORT[family], (VIP[family], client))
    assert (error.quote.ports, error.quote.payload[8:]) == ((port, DRAINED), b"is anybody there?")
    # The sender's stack leaves the UDP checksum to the interface, so it may be another.
    assert error.quote.data[: error.quote.header] == sent.data[: sent.header]


def test_service_without_servers_refuses_connections(nat: Lab, family: int) -> None:
    """The same for a SYN."""
    before = nat.director.ask("drops")["no_server"]
    with pytest.raises(ConnectionRefusedError):
        nat.connect(family, DRAINED)
    assert nat.director.ask("drops")["no_server"] > before


def set_servers_ttl(lab: Lab, family: int, ttl: int) -> None:
    """Give what the real servers send another TTL."""
    for namespace in lab.topology.servers:
        netns.inside(namespace, partial(Path("/proc/sys/net", DEFAULT_TTL[family]).write_text, str(ttl)))


def test_used_up_ttl_of_a_reply_is_told_to_the_server_by_the_director(nat: Lab, family: int) -> None:
    """A real server learns from the director's own address that its reply did not reach the client."""
    nat.warm_up(family)
    captures = [Capture(namespace) for namespace in nat.topology.servers]
    try:
        set_servers_ttl(nat, family, 1)
        with nat.datagram_socket(family, PEER) as sock:
            client, port = sock.getsockname()[:2]
            sock.send(seal(1, b"answer me"))
            until(lambda: any(capture.errors() for capture in captures), "no error came")
        error = only(next(capture for capture in captures if capture.errors()))
    finally:
        set_servers_ttl(nat, family, 64)
        for capture in captures:
            capture.close()
    server = error.packet.addresses[1]
    assert server in topology.server_addresses(family)
    assert (error.kind, error.packet.addresses[0]) == (TTL_EXCEEDED[family], topology.director_address(family))
    assert (error.quote.addresses, error.quote.ports) == ((server, client), (nat.real_port(PEER), port))


def short_lived(lab: Lab, family: int, kind: socket.SocketKind) -> socket.socket:
    """Return a socket of the client whose packets get no further than the director."""

    def make() -> socket.socket:
        sock = socket.socket(FAMILIES[family], kind)
        sock.settimeout(20)
        sock.setsockopt(*TTL[family], 1)
        return sock

    return lab.in_client(make)


def test_used_up_ttl_of_a_datagram_is_told_by_the_virtual_address(lab: Lab, family: int) -> None:
    """Time exceeded comes from the virtual address, and the socket learns which datagram it is about."""
    lab.warm_up(family)
    with Capture(lab.topology.client) as capture, short_lived(lab, family, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(*RECVERR[family], 1)
        sock.connect((VIP[family], PEER))
        sock.send(b"not far")
        with pytest.raises(OSError) as told:
            sock.recv(100)
        assert told.value.errno == errno.EHOSTUNREACH
        data, ((level, option, raw),), _, _ = sock.recvmsg(100, 200, MSG_ERRQUEUE)
        error, (client, port) = only(capture), sock.getsockname()[:2]
    assert (data, level, option) == (b"not far", *RECVERR[family])
    code, origin, type_, subtype = struct.unpack_from("=IBBB", raw)
    assert (code, origin, type_, subtype) == (errno.EHOSTUNREACH, ORIGIN[family], *TTL_EXCEEDED[family])
    offender = raw[16 + 4 : 16 + 8] if family == 4 else raw[16 + 8 : 16 + 24]
    assert str(ipaddress.ip_address(offender)) == VIP[family]
    assert (error.kind, error.packet.addresses) == (TTL_EXCEEDED[family], (VIP[family], client))
    assert (error.quote.addresses, error.quote.ports) == ((client, VIP[family]), (port, PEER))


def test_used_up_ttl_of_a_syn_is_told_by_the_virtual_address(lab: Lab, family: int) -> None:
    """A connection whose SYN cannot pass the director fails with the error that says why."""
    with Capture(lab.topology.client) as capture, short_lived(lab, family, socket.SOCK_STREAM) as sock:
        with pytest.raises(OSError) as told:
            sock.connect((VIP[family], HTTP))
        assert told.value.errno == errno.EHOSTUNREACH
        errors = capture.errors()
    assert errors
    for error in errors:
        assert (error.kind, error.packet.addresses[0]) == (TTL_EXCEEDED[family], VIP[family])
        assert error.packet.icmp_is_valid() and error.quote.addresses[1] == VIP[family]
