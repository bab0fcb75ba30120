"""Packets that a real IPVS (Linux 6.1) wrapped for gue and gre: the same ones in, the same ones out.

`data/METHOD-CHECKSUM-FAMILIES.pcap` holds what went over the director's link: each packet of the client, and behind it
what became of it.  Whose name ends in `partial` came from a client that left checksums to its network card.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.utils import rdpcap

from tests.packet import network as net
from tests.packet.director import PASS, SENT, TUNNEL_PORT, Director
from tests.packet.frames import Frame
from tests.packet.network import Network
from tests.packet.sums import ones_sum
from xlvs.model import Address, Server, Service, ServiceKey

DATA = Path(__file__).with_name("data")
CASES = sorted(path.stem for path in DATA.glob("g[ur]e-*.pcap"))
VIP = {4: "10.0.0.102", 6: "fd00:a::102"}
SERVER = {4: "10.0.1.11", 6: "fd00:b::11"}
OWN = {4: "10.0.1.254", 6: "fd00:b::fe"}
CHECKSUM = {"nocsum": "none", "csum": "full", "remcsum": "remote"}
CLIENT = "02:00:00:00:00:01"


@pytest.fixture(scope="module")
def captured_director() -> Iterator[Director]:
    """A director on the network of the captures."""
    import subprocess

    network = Network.make()
    lines = [f"address add {OWN[4]}/24 dev inside", f"address add {OWN[6]}/64 dev inside nodad"]
    lines += [f"neighbour add {SERVER[f]} lladdr 02:00:00:00:00:04 dev inside nud permanent" for f in (4, 6)]
    with network.inside():
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
        director, loaded = Director.loaded()
        yield director
        loaded.close()
    network.close()


def exchanges(case: str) -> Iterator[tuple[Frame, Frame]]:
    """Yield the client's packets, each with what the kernel made of it, both from the IP header on as frames for us."""
    frames = [bytes(packet) for packet in rdpcap(str(DATA / f"{case}.pcap"))]
    for one, next_one in zip(frames, frames[1:], strict=False):
        if one[6:12].hex(":").endswith("00:01") and next_one[:6].hex(":").endswith("00:04"):
            mac = bytes.fromhex(net.OUTSIDE_MAC.replace(":", ""))
            yield Frame(mac + one[6:]), Frame(next_one)


def serve(director: Director, case: str) -> None:
    """Put the services of the capture in force."""
    method, checksum, families = case.split("-")[:3]
    inner, outer = int(families[1]), int(families[4])
    director.reset()
    for protocol, port in (("tcp", 80), ("udp", 53)):
        server = Server(
            Address.parse(SERVER[outer]),
            port,
            method,
            tunnel_port=TUNNEL_PORT if method == "gue" else 0,
            tunnel_checksum=CHECKSUM[checksum],
        )
        key = ServiceKey(protocol, Address.parse(VIP[inner]), port)
        director.put(Service(key, "rr", servers=(server,)), own=OWN[outer])


def check_at(packet: bytes) -> int:
    """Return where in an inner packet its transport checksum is."""
    at, protocol = (20, packet[9]) if packet[0] >> 4 == 4 else (40, packet[6])
    return at + (16 if protocol == 6 else 6)


def settled(ours: bytes, theirs: bytes, sent: bytes) -> bytes:
    """Return *theirs*, from the IP header on, with id, source port and their checksums as in *ours*."""
    want = bytearray(theirs)
    at = 20 if want[0] >> 4 == 4 else 40
    protocol = want[9] if at == 20 else want[6]
    if at == 20 and not want[6] & 0x40:
        want[4:6] = ours[4:6]
        want[10:12] = bytes(2)
        want[10:12] = struct.pack("!H", ~ones_sum(bytes(want[:20])) & 0xFFFF)
    if protocol == 17:
        port = int.from_bytes(ours[at : at + 2], "big")
        assert 32768 <= port <= 60999
        want[at : at + 2] = ours[at : at + 2]
        if any(want[at + 6 : at + 8]):
            before = int.from_bytes(theirs[at : at + 2], "big")
            check = ~ones_sum(
                struct.pack("!3H", ~int.from_bytes(want[at + 6 : at + 8], "big") & 0xFFFF, ~before & 0xFFFF, port)
            )
            want[at + 6 : at + 8] = struct.pack("!H", check & 0xFFFF)
    inner = len(want) - len(sent)
    field = inner + check_at(sent)
    if ours[field : field + 2] == sent[check_at(sent) : check_at(sent) + 2]:
        want[field : field + 2] = ours[field : field + 2]  # partial yet: the network card's to complete
    return bytes(want)


@pytest.mark.parametrize("case", CASES)
def test_wrapped_as_by_ipvs(captured_director: Director, case: str) -> None:
    """Every field of every packet is as the kernel wrote it, but for ids and source ports that it chooses freely."""
    serve(captured_director, case)
    seen, ports = 0, set()
    for sent, theirs in exchanges(case):
        out = captured_director.packet(sent, "tc")
        assert out.verdict is SENT
        assert Frame(bytes(14) + out.packet.ip) == Frame(bytes(14) + settled(out.packet.ip, theirs.ip, sent.ip))
        seen += 1
        if sent.ip[9 if sent.ip[0] >> 4 == 4 else 6] == 6:
            at = 20 if out.packet.ip[0] >> 4 == 4 else 40
            ports.add(out.packet.ip[at : at + 2])
    assert seen >= 5
    assert len(ports) == 1  # all of one connection


@pytest.mark.parametrize("case", [case for case in CASES if "-nocsum" in case])
def test_xdp_wraps_them_as_tc_does(captured_director: Director, case: str) -> None:
    """Without a checksum in the outer header XDP does it; a partial inner one it completes."""
    serve(captured_director, case)
    for sent, theirs in exchanges(case):
        out = captured_director.packet(sent, "xdp")
        assert out.verdict is SENT
        assert Frame(bytes(14) + out.packet.ip) == Frame(bytes(14) + settled(out.packet.ip, theirs.ip, sent.ip))


@pytest.mark.parametrize("case", ["gue-csum-v4in4", "gre-csum-v6in4", "gue-remcsum-v6in6"])
def test_xdp_leaves_checksums_to_tc(captured_director: Director, case: str) -> None:
    """What needs the payload read is left as it is."""
    serve(captured_director, case)
    for sent, _ in exchanges(case):
        out = captured_director.packet(sent, "xdp")
        assert (out.verdict, out.packet) == (PASS, sent)
