"""What a real IPVS (Linux 6.1) sent, replayed: the packets that came to its link go in, the same ones must come out.

`data/captured/CASE.pcap` is the director's link: it has one interface, and clients, servers and routers are told apart
by their MAC addresses.  `data/captured/services.json` holds the services as they were typed.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from scapy.utils import rdpcap

from tests.packet import network as net
from tests.packet import sums
from tests.packet.director import PASS, SENT, TUNNEL_PORT, Director, Out
from tests.packet.frames import Frame
from tests.packet.network import Network
from xlvs.model import Address, Server, Service, ServiceKey

DATA = Path(__file__).with_name("data") / "captured"
SERVICES: dict[str, list[str]] = json.loads((DATA / "services.json").read_text())
LOCAL_CLIENT = "from-director-nat"
CASES = sorted(set(SERVICES) - {LOCAL_CLIENT})
WHOLE = 1514
DIRECTOR_MAC = net.INSIDE_MAC
PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}
SWITCH = re.compile(r"(conn_reuse_mode|conntrack|nat_icmp_send|pmtu_disc|schedule_icmp|sloppy_tcp|sloppy)(\d)")
"""Switches in the name of a case; secure_tcp is not: no memory being scarce, what was 2 was 1 again at once."""

NAMES = {"sloppy": "sloppy_tcp"}
HERE = {"10.0.0.254", "10.0.1.254", "fd00:b::fe", "127.0.0.1", "::1"}
"""Addresses of servers that are the director itself."""

OWN = {4: "10.0.1.254", 6: "fd00:b::fe"}
FORWARDS = {"-m": "nat", "-g": "route", "-i": "ipip"}
CHECKSUMS = {"--tun-nocsum": "none", "--tun-csum": "full", "--tun-remcsum": "remote"}

CHANGES = {
    "expire_nodest_conn0": (7, ()),
    "expire_nodest_conn0-other-server": (7, ("10.0.1.12 1",)),
    **{
        f"conn_reuse_mode{mode}-conntrack{conntrack}-w0": (10, ("10.0.1.11 1", "10.0.1.12 0"))
        for mode in (0, 1, 2)
        for conntrack in (0, 1)
    },
    "sip-weight0": (2, ("10.0.1.11 0", "10.0.1.12 0", "10.0.2.13 0")),
}
"""Before which packet that came the only service got which servers, address and weight."""

AGED = {"sloppy_tcp0": 7}
"""Before which packet that came all flows had expired."""

REORDERED = "conn_reuse_mode1-conntrack1-w0"
"""Two CPUs of the kernel overtook one another."""

STRICT = re.compile("icmp-(nat|client)|nat-|dr-v4|frag|first-nat|traffic|secure|sloppy|conn_reuse|sctp-(nat-v|dr|pers)")
"""Cases in which a director makes no packet of its own, so there is nothing to settle."""

_ONE_BY_ONE = "later fragments are wrapped as they come, the kernel puts them together and cuts the outer packet"
UNLIKE = {
    **{f"mtu-ipip-{families}": (12, _ONE_BY_ONE) for families in ("v6in4", "v6in6")},
    "mtu-gre-csum-v6in6": (12, _ONE_BY_ONE),
    "mtu-ipip-v4in6": (11, "without DF, too: the host cannot cut an outer IPv6 packet for us, so the client is told"),
    **{f"frag-udp8k-ipip-{families}": (0, _ONE_BY_ONE) for families in ("v4in4", "v6in4", "v6in6")},
    "mtu-router-ipip-v4in4": (1, "the kernel first tells its own route's MTU, the router's with the next packet"),
    "sctp-nat-no-answer": (0, "the neighbour is looked for behind the hook, by the host"),
}
"""From which packet of the kernel's on ours are others, and why."""

NEIGHBOURS = {
    **{"10.0.0.1": "01", "10.0.1.11": "04", "10.0.1.12": "05", "10.0.1.13": "07", "10.0.1.200": "06"},
    **{"fd00:a::1": "01", "fd00:b::11": "04", "fd00:b::12": "05", "fd00:b::200": "06"},
}
"""The last byte of each one's MAC."""

NETWORKS = [ip_network(text) for text in (*NEIGHBOURS, "10.9.0.0/16", "fd00:9::/64")]
"""Where the host routes to; clients' other networks are behind the client."""

_LINES = [
    *(f"address add 10.0.0.{host}/32 dev lo" for host in range(100, 106)),
    *(f"address add fd00:a::{host}/128 dev lo nodad" for host in range(100, 106)),
    "address add 10.0.1.254/24 dev inside",
    "address add fd00:a::fe/64 dev inside nodad",
    "address add fd00:b::fe/64 dev inside nodad",
    *(
        f"neighbour replace {address} lladdr 02:00:00:00:00:{mac} dev inside nud permanent"
        for address, mac in NEIGHBOURS.items()
    ),
    "route add 10.0.2.0/24 via 10.0.1.200",
    "route add fd00:c::/64 via fd00:b::200",
    "route add 10.9.0.0/16 via 10.0.0.1",
    "route add fd00:9::/64 via fd00:a::1",
]


@pytest.fixture(scope="module")
def captured_director() -> Iterator[Director]:
    """A director on the network of the captures."""
    network = Network.make()
    try:
        with network.inside():
            subprocess.run(["ip", "-batch", "-"], input="\n".join(_LINES), text=True, check=True)
            director, loaded = Director.loaded()
            try:
                yield director
            finally:
                loaded.close()
    finally:
        network.close()


def end(text: str) -> tuple[Address, int]:
    """Read ``ADDRESS:PORT``."""
    address, _, port = text.rpartition(":")
    return Address.parse(address.strip("[]")), int(port)


def serve(director: Director, case: str) -> list[Service]:
    """Put the services of the capture in force."""
    director.reset()
    if switches := dict(SWITCH.findall(case)):
        director.configure(sysctls={NAMES.get(name, name): value for name, value in switches.items()})
    services: dict[ServiceKey, Service] = {}
    for words in map(str.split, SERVICES[case]):
        key = ServiceKey(PROTOCOLS[words[1]], *end(words[2]))
        if words[0] == "-A":
            services[key] = service_of(key, words)
        else:
            services[key] = services[key].with_servers((*services[key].servers, server_of(words)))
        put(director, services[key])  # one by one: wrr heeds in which order
    return list(services.values())


def service_of(key: ServiceKey, words: list[str]) -> Service:
    """Return the service of a line with ``-A``, as yet without servers."""
    persistent = int(words[words.index("-p") + 1]) if "-p" in words else 0
    engine = words[words.index("--pe") + 1] if "--pe" in words else ""
    return Service(key, words[words.index("-s") + 1], persistent=persistent, engine=engine, ops="-o" in words)


def server_of(words: list[str]) -> Server:
    """Return the server of a line with ``-a``."""
    address, port = end(words[4])
    method = words[words.index("--tun-type") + 1] if "--tun-type" in words else FORWARDS[words[5]]
    gue = TUNNEL_PORT if method == "gue" else 0
    weight = int(words[words.index("-w") + 1]) if "-w" in words else 1
    checksum = CHECKSUMS.get(words[-1], "none")
    return Server(address, port, method, weight, tunnel_port=gue, tunnel_checksum=checksum)


def put(director: Director, service: Service) -> None:
    """Put a service in force, with the director's address in the capture."""
    own = ""
    for server in service.servers:
        own = str(server.address) if str(server.address) in HERE else OWN[server.address.version]
    director.put(service, own=own)


def change(director: Director, service: Service, lines: tuple[str, ...]) -> None:
    """Give the service the servers of `CHANGES`."""
    servers = [
        Server(Address.parse(address), service.servers[0].port, service.servers[0].forward, int(weight))
        for address, weight in map(str.split, lines)
    ]
    put(director, service.with_servers(tuple(servers)))


def capture(case: str) -> Iterator[tuple[bool, Frame]]:
    """Yield every packet of the capture, and whether it came to the director."""
    for packet in rdpcap(str(DATA / f"{case}.pcap")):
        data = bytes(packet)
        # Some captures cut long frames; those were of one byte again and again.
        frame = Frame(data + data[-1:] * ((packet.wirelen or 0) - len(data)))
        yield frame[:6].hex(":") == DIRECTOR_MAC, frame


def check(data: bytes) -> bytes:
    """Return the Internet checksum of *data*."""
    data += bytes(len(data) % 2)
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return struct.pack("!H", ~value & 0xFFFF)


def headed(ip: bytes, **fields: int) -> bytes:
    """Return the IPv4 packet with other header fields, and the header's checksum made anew."""
    new = bytearray(ip)
    for name, value in fields.items():
        struct.pack_into("!H", new, {"length": 2, "id": 4, "cut": 6}[name], value)
    new[10:12] = bytes(2)
    new[10:12] = check(bytes(new[:20]))
    return bytes(new)


def is_cut(frame: Frame) -> bool:
    """Return whether this is a fragment of IPv4."""
    return frame.ip[0] >> 4 == 4 and bool(int.from_bytes(frame.ip[6:8], "big") & 0x3FFF)


def joined(frames: list[Frame]) -> list[Frame]:
    """Return the packets with those that the kernel cut whole again, each at the place of its first fragment."""
    whole: list[Frame] = []
    for frame in frames:
        if is_cut(frame) and int.from_bytes(frame.ip[6:8], "big") & 0x1FFF:
            length = int.from_bytes(frame.ip[2:4], "big")
            ip = whole[-1].ip + frame.ip[20:length]
            whole[-1] = Frame(frame[:14] + headed(ip, length=len(ip), cut=0))
        else:
            whole.append(frame)
    return whole


def settled(ours: Frame, theirs: Frame) -> Frame:
    """Return *theirs* with what a director chooses freely as in *ours*.

    That is the id of an IPv4 packet of its own without DF, the flow label of an ICMPv6 error of its own, and the
    source port of gue.
    """
    want, have = theirs.ip, ours.ip
    if want[0] >> 4 == 4:
        if not want[6] & 0x40:
            want = headed(want, id=int.from_bytes(have[4:6], "big"))
        if want[9] == 17 and want[22:24] == struct.pack("!H", TUNNEL_PORT):
            assert 32768 <= int.from_bytes(have[20:22], "big") <= 60999
            udp = bytearray(want[20:])
            udp[:2] = have[20:22]
            if any(udp[6:8]):
                udp[6:8] = bytes(2)
                udp[6:8] = check(want[12:20] + struct.pack("!2H", 17, len(udp)) + udp)
            want = want[:20] + udp
    elif want[6] == 58:
        want = bytes([want[0], want[1] & 0xF0 | have[1] & 0x0F]) + have[2:4] + want[4:]
    elif want[6] == 17 and want[42:44] == struct.pack("!H", TUNNEL_PORT):
        assert 32768 <= int.from_bytes(have[40:42], "big") <= 60999
        assert not any(want[46:48]), "no checksum that would be another"
        want = want[:40] + have[40:42] + want[42:]
    if len(theirs) <= WHOLE:
        return Frame(theirs[:14] + want)
    # What the host's stack has to cut is given to the host, which counts the TTL down once more.
    assert want[8] == have[8] - 1
    return Frame(ours[:14] + headed(bytes([*want[:8], have[8], *want[9:]])))


def sent(director: Director, case: str, hook: str) -> list[Frame]:
    """Return what our programs sent for what came."""
    services = serve(director, case)
    when, lines = CHANGES.get(case, (-1, ()))
    ours = []
    for number, frame in enumerate(frame for came, frame in capture(case) if came):
        if number == AGED.get(case):
            director.make_older(1000)
        if number == when:
            change(director, services[0], lines)
        out = director.packet(frame, hook)
        if hook == "xdp" and out.verdict is PASS:
            assert out.packet == frame
            out = director.packet(frame, "tc")
        if out.verdict is SENT:
            ours.append(out.packet)
        elif out == Out(PASS, frame) and (by_host := routed(frame)):
            ours.append(by_host)
    return ours


def routed(frame: Frame) -> Frame | None:
    """Return the packet as the host's stack routes it, if it is not for the director itself."""
    ip = frame.ip
    is_v4 = ip[0] >> 4 == 4
    to = ip_address(ip[16:20] if is_v4 else ip[24:40])
    if not any(to in network for network in NETWORKS):
        return None
    link = bytes([2, 0, 0, 0, 0, int(NEIGHBOURS.get(str(to), "01"))]) + frame[:6] + frame[12:14]
    if is_v4:
        return Frame(link + headed(bytes([*ip[:8], ip[8] - 1, *ip[9:]])))
    return Frame(link + bytes([*ip[:7], ip[7] - 1, *ip[8:]]))


def is_the_hosts(case: str, frame: Frame) -> bool:
    """Return whether the director's own stack sent this: it is the server, or resets with its TTL not counted down."""
    if case.startswith(("local-", "icmp-echo")):
        return True
    return frame.ip[0] >> 4 == 4 and (frame.ip[8], frame.ip[9]) == (64, 6) and bool(frame.ip[33] & 4)


def completed(frame: Frame) -> Frame:
    """Return the frame with the checksum that was left to the network card, be it that of a packet it wraps."""
    at = 34 if frame[23] == 4 else 14
    inner = Frame(frame[:14] + frame[at:])
    return Frame(frame[:at] + sums.complete(inner)[14:]) if inner == sums.partial(inner) else frame


# A test run has no frame whose checksum is the network card's to complete; XDP knows them by their looks.
RUNS = [(case, hook) for case in CASES for hook in ("tc", "xdp") if hook == "xdp" or "partial" not in case]


@pytest.mark.parametrize(("case", "hook"), RUNS)
def test_sent_as_by_ipvs(captured_director: Director, case: str, hook: str) -> None:
    """Every packet leaves as the kernel sent it, byte for byte and in its order; where it is silent so are we."""
    ours = sent(captured_director, case, hook)
    frames = [frame for came, frame in capture(case) if not came and not is_the_hosts(case, frame)]
    theirs = frames if case.startswith("frag") else joined(frames)
    if case in UNLIKE:
        at, _ = UNLIKE[case]
        assert ours[at:] != theirs[at:]
        ours, theirs = ours[:at], theirs[:at]
    else:
        assert len(ours) == len(theirs)
    if case == REORDERED:
        ours.sort()
        theirs.sort()
    if case.startswith("traffic"):
        theirs = [completed(frame) for frame in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine == (other if STRICT.match(case) else settled(mine, other))


@pytest.mark.parametrize("family", [4, 6])
def test_a_wrapped_connection_keeps_its_source_port(captured_director: Director, family: int) -> None:
    """The kernel's was constant in a connection, too; and connections differ, so that servers can spread them."""
    found: dict[bytes, set[bytes]] = {}
    ip, inner_ends = (20, slice(12, 24)) if family == 4 else (40, slice(8, 44))
    for frame in sent(captured_director, f"gue-srcport-v{family}", "xdp"):
        found.setdefault(frame.ip[ip + 12 :][inner_ends], set()).add(frame.ip[ip : ip + 2])
    assert len(found) == 10
    assert {len(ports) for ports in found.values()} == {1}
    assert len(set().union(*found.values())) > 5
