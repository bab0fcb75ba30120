"""The rules for firewall marks as the data plane looks them up."""

from __future__ import annotations

import ipaddress
import random

import pytest

from xlvs.dataplane import _abi as abi
from xlvs.errors import InvalidError
from xlvs.model import MAPPED, Address, Match, ServiceKey
from xlvs.plan.matching import matches

Rules = list[tuple[int, Match]]


def looked_up(rules: Rules, address: str, protocol: int, port: int) -> int:
    """Return the mark that the map gives a packet, looked up as ``bpf/match.h`` does."""
    wanted: dict[ServiceKey, tuple[Match, ...]] = {}
    for mark, match in rules:
        key = ServiceKey.of_mark(mark, match.address.version)
        wanted[key] = (*wanted.get(key, ()), match)
    parsed = Address.parse(address)
    best, length = None, -1
    for key, value in zip(*matches(wanted), strict=True):
        bits = int(key["length"])
        shift = 128 - bits
        if int.from_bytes(bytes(key["addr"])) >> shift == int.from_bytes(parsed) >> shift and bits > length:
            best, length = value, bits
    for match in best["match"] if best is not None else ():
        fits = match["family"] == parsed.version and match["proto"] in (0, protocol)
        if match["mark"] and fits and match["low"] <= port <= match["high"]:
            return int(match["mark"])
    return 0


def test_the_first_rule_wins_whatever_its_prefix() -> None:
    """A longer prefix is looked up, but the order is that of the rules."""
    wide, narrow = Match.parse("192.0.2.0/24", "tcp", "80"), Match.parse("192.0.2.1", "tcp")
    assert looked_up([(1, wide), (2, narrow)], "192.0.2.1", 6, 80) == 1
    assert looked_up([(2, narrow), (1, wide)], "192.0.2.1", 6, 80) == 2
    assert looked_up([(1, wide), (2, narrow)], "192.0.2.1", 6, 81) == 2
    assert looked_up([(1, wide), (2, narrow)], "192.0.2.2", 6, 81) == 0


def test_all_of_ipv6_is_not_ipv4() -> None:
    """Though IPv4 addresses are mapped ones in the map."""
    rules = [(1, Match.parse("::/0")), (2, Match.parse("0.0.0.0/0", "udp"))]
    assert looked_up(rules, "192.0.2.1", 6, 80) == 0
    assert looked_up(rules, "192.0.2.1", 17, 80) == 2
    assert looked_up(rules, "2001:db8::1", 6, 80) == 1


def test_as_one_rule_after_the_other_would_say() -> None:
    """Random rules, looked up by prefix, give what going through them in their order does."""
    rng = random.Random(5)
    for _ in range(100):
        rules = [(mark, _any_match(rng)) for mark in range(1, 9)]
        for _ in range(20):
            address, protocol, port = (
                f"10.0.{rng.randrange(4)}.{rng.randrange(4)}",
                rng.choice((6, 17)),
                rng.randrange(8),
            )
            wants = (mark for mark, match in rules if _fits(match, address, protocol, port))
            assert looked_up(rules, address, protocol, port) == next(wants, 0), rules


def _any_match(rng: random.Random) -> Match:
    length = rng.choice((0, 8, 22, 23, 24, 30, 31, 32))
    network = ipaddress.ip_network((f"10.0.{rng.randrange(4)}.{rng.randrange(4)}", length), strict=False)
    low = rng.randrange(8)
    return Match.parse(str(network), rng.choice(("", "tcp", "udp")), f"{low}-{rng.randrange(low, 8)}")


def _fits(match: Match, address: str, protocol: int, port: int) -> bool:
    network = ipaddress.ip_network((match.address.packed, match.length))
    named = {"": protocol, "tcp": 6, "udp": 17}[match.protocol]
    return ipaddress.ip_address(address) in network and named == protocol and match.low <= port <= match.high


def test_too_many() -> None:
    """More rules for one address than a packet is compared with are refused."""
    many = tuple(Match.parse("192.0.2.0/24", "tcp", str(port)) for port in range(17))
    with pytest.raises(InvalidError, match=r"17 rules match 192\.0\.2\.0, which is more than 16; merge some"):
        matches({ServiceKey.of_mark(1): many})
    keys, _ = matches({ServiceKey.of_mark(1): many[1:]})
    assert keys["length"].tolist() == [24 + 8 * len(MAPPED)]


def test_more_prefixes_than_there_is_room_for() -> None:
    """As many as fit are taken; one more is refused, and says how many that would be."""
    networks = (f"10.{high}.{low}.0/24" for high in range(256) for low in range(256))
    many = [Match.parse(network) for network, _ in zip(networks, range(abi.MAX_PREFIXES + 1), strict=False)]
    keys, _ = matches({ServiceKey.of_mark(1): many[1:]})
    assert len(keys) == abi.MAX_PREFIXES
    why = f"there would be rules for {abi.MAX_PREFIXES + 1} prefixes, {abi.MAX_PREFIXES} are possible"
    with pytest.raises(InvalidError, match=why):
        matches({ServiceKey.of_mark(1): many})
