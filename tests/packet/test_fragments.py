"""Fragments, on TC: the first one carries the ports, the later ones follow it; XDP leaves them all to TC."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

from tests.packet import network as net
from tests.packet import sums
from tests.packet.director import PASS, SENT, Director
from tests.packet.frames import (
    FROM_CLIENT,
    LOCAL,
    TO_CLIENT,
    Frame,
    Link,
    at,
    ends,
    frame,
    from_real,
    from_server,
    from_vip,
    to_real,
    to_server,
    to_vip,
    udp,
)

SIZE = 1024
PAYLOAD = bytes(i % 253 for i in range(2500))


def fragments(way: str, *, ident: int = 99, ttl: int = 64, link: Link = FROM_CLIENT) -> list[Frame]:
    """Return a UDP datagram of 2500 bytes in three fragments."""
    whole = udp(way, PAYLOAD)
    data = whole[sums.transport(whole)[0] :]
    e = ends(way)
    found = []
    for start in range(0, len(data), SIZE):
        more = start + SIZE < len(data)
        if e.version == 4:
            header = IP(src=e.src, dst=e.dst, ttl=ttl, id=ident, flags="MF" if more else 0, frag=start // 8, proto=17)
        else:
            fragment = IPv6ExtHdrFragment(id=ident, m=int(more), offset=start // 8, nh=17)
            header = IPv6(src=e.src, dst=e.dst, hlim=ttl) / fragment
        found.append(frame(header / Raw(data[start : start + SIZE]), link))
    return found


def test_nat_translates_all_fragments(director: Director, family: int) -> None:
    """Addresses change in every fragment, port and checksum in the first alone; together they make the datagram."""
    director.serve(family, "udp")
    out = [director.packet(f) for f in fragments(to_vip(family))]
    assert [o.packet for o in out] == fragments(to_real(family), ttl=63, link=to_server(1))
    assert {o.verdict for o in out} == {SENT}
    assert director.states() == ["UDP"]
    assert director.flows()[0].bytes[0] == sum(len(f.ip) for f in fragments(to_vip(family)))


def test_replies_in_fragments_are_translated(director: Director, family: int) -> None:
    """A real server's fragmented answer comes from the virtual address, all of it."""
    director.serve(family, "udp")
    director.packet(udp(to_vip(family)))
    out = [director.packet(f) for f in fragments(from_real(family), link=from_server(1))]
    assert [o.packet for o in out] == fragments(from_vip(family), ttl=63, link=TO_CLIENT)


def test_route_forwards_all_fragments(director: Director, family: int) -> None:
    """Every fragment goes to the server of the first."""
    director.service(f"{net.VIP[4]}:80/udp", *(f"{net.server(4, n)}:80 route" for n in (1, 2)))
    director.service(f"[{net.VIP[6]}]:80/udp", *(f"[{net.server(6, n)}]:80 route" for n in (1, 2)))
    for number, port in ((2, 4000), (1, 4001)):
        out = [director.packet(f) for f in fragments(to_vip(family, port), ident=port)]
        assert [o.packet for o in out] == fragments(to_vip(family, port), ident=port, ttl=63, link=to_server(number))


def test_ipip_wraps_every_fragment(director: Director, family: int) -> None:
    """Each fragment travels in a tunnel packet of its own, from whose inside the server puts them together."""
    director.serve(family, "udp", "ipip")
    for one, want in zip(fragments(to_vip(family)), fragments(to_vip(family), ttl=63), strict=True):
        out = director.packet(one)
        assert out.verdict is SENT
        assert out.packet[14 + (20 if family == 4 else 40) :] == want.ip


@pytest.mark.parametrize("forward", ["nat", "route"])
def test_replies_in_fragments_reach_a_local_client(director: Director, family: int, forward: str) -> None:
    """A client on the director itself gets all fragments of its answer, up the loopback."""
    director.serve(family, "udp", forward)
    own = f"{at(net.VIP[family], 4000)} > {at(net.VIP[family], 80)}"
    director.packet(udp(own, link=LOCAL), "lo")
    server, port = (net.server(family, 1), 8080) if forward == "nat" else (net.VIP[family], 80)
    client = net.VIP[family] if forward == "nat" else net.DIRECTOR[family]
    replies = fragments(f"{at(server, port)} > {at(client, 4000)}", link=from_server(1))
    want = fragments(f"{at(net.VIP[family], 80)} > {at(net.VIP[family], 4000)}", link=LOCAL)
    assert [director.packet(f).packet for f in replies] == want


def test_datagrams_are_told_apart(director: Director, family: int) -> None:
    """Two datagrams whose fragments are mixed up on their way keep their ports: the id tells them apart."""
    director.serve(family, "udp")
    one, two = fragments(to_vip(family, 4001), ident=1), fragments(to_vip(family, 4002), ident=2)
    want = {1: fragments(to_real(family, 1, 4001), ident=1, ttl=63, link=to_server(1))}
    want[2] = fragments(to_real(family, 1, 4002), ident=2, ttl=63, link=to_server(1))
    assert [director.packet(f).packet for f in (one[0], two[0])] == [want[1][0], want[2][0]]
    assert [director.packet(f).packet for f in (two[1], one[1])] == [want[2][1], want[1][1]]
    assert {f.bytes for f in director.flows()} == {(sum(len(f.ip) for f in one[:2]), 0)}


@pytest.mark.parametrize("forward", ["nat", "route"])
def test_a_later_fragment_without_its_first_passes(director: Director, family: int, forward: str) -> None:
    """Without the first fragment nobody knows the ports; the stack may wait for it."""
    director.serve(family, "udp", forward)
    for late in fragments(to_vip(family))[1:]:
        out = director.packet(late)
        assert (out.verdict, out.packet) == (PASS, late)
    assert director.flows() == []


def test_a_later_fragment_opens_no_flow(director: Director, family: int) -> None:
    """A fragment whose flow ended since its first one is left to the stack."""
    director.serve(family, "udp")
    first, second, _ = fragments(to_vip(family))
    director.packet(first)
    director.clear_flows()
    out = director.packet(second)
    assert (out.verdict, out.packet) == (PASS, second)
    assert director.live() == 0


def test_fragments_stay_together_while_the_table_is_full(director: Director, family: int) -> None:
    """Without room for their flow all fragments go to the one server of the stateless choice."""
    director.crowd()
    vip = to_vip(family).split(" > ")[1]
    director.service(f"{vip}/udp", *(f"{at(net.server(family, n), 8080)} nat" for n in (1, 2, 3)))
    for port in range(5000, 5010):
        out = [director.packet(f) for f in fragments(to_vip(family, port), ident=port)]
        number = out[0].packet[5]
        want = fragments(to_real(family, number, port), ident=port, ttl=63, link=to_server(number))
        assert [o.packet for o in out] == want


def test_xdp_leaves_fragments_to_tc(director: Director, family: int) -> None:
    """No fragment is changed by XDP, and none of its checksums is taken for a partial one."""
    director.serve(family, "udp")
    director.packet(udp(to_vip(family)), "xdp")
    for one in fragments(to_vip(family)):
        for sent in (one, sums.set_check(one, sums.ones_sum(sums.transport(one)[2]))):
            out = director.packet(sent, "xdp")
            assert (out.verdict, out.packet) == (PASS, sent)
    assert "healed" not in director.counters()


def test_fragments_of_foreign_traffic_pass(director: Director, family: int) -> None:
    """Fragments that are not the service's leave no trace."""
    director.serve(family, "udp")
    for one in fragments(to_vip(family).replace("2.1:", "2.2:").replace("8::1]", "8::2]")):
        out = director.packet(one)
        assert (out.verdict, out.packet) == (PASS, one)
    for one in fragments(to_vip(family)[:-2] + "81"):
        out = director.packet(one)
        assert (out.verdict, out.packet) == (PASS, one)
    assert director.flows() == []
