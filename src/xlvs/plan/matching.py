"""The rules by which packets get a firewall mark, as the data plane looks them up: by the longest prefix.

Pure.  What is found at a prefix are all rules that hold for the addresses in it, those of shorter prefixes as well, in
the order of the services and theirs; the first that fits is the packet's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np

from xlvs.dataplane import _abi as abi
from xlvs.errors import InvalidError
from xlvs.model import MAPPED, Match, ServiceKey
from xlvs.plan.records import Array

_NUMBERS = {"": 0, "tcp": 6, "udp": 17}


def matches(wanted: Mapping[ServiceKey, Sequence[Match]]) -> tuple[Array, Array]:
    """Return keys and values of the map ``matches``; raises `InvalidError`: more rules than fit hold for an address."""
    rules = [(key.mark, match) for key, own in wanted.items() for match in own]
    prefixes = {(_length(match), match.address): None for _, match in rules}
    if len(prefixes) > abi.MAX_PREFIXES:
        raise InvalidError(f"there would be rules for {len(prefixes)} prefixes, {abi.MAX_PREFIXES} are possible")
    at: dict[tuple[int, int], list[int]] = {}
    for place, (_, match) in enumerate(rules):
        at.setdefault(_head(_length(match), match.address), []).append(place)
    lengths = {length for length, _ in at}
    keys, values = np.zeros(len(prefixes), abi.MATCH_KEY), np.zeros(len(prefixes), abi.MATCHES)
    for i, (length, address) in enumerate(prefixes):
        shorter = (at.get(_head(one, address), ()) for one in lengths if one <= length)
        held = [rules[place] for place in sorted(chain.from_iterable(shorter))]
        if len(held) > abi.MAX_MATCHES:
            raise InvalidError(f"{len(held)} rules match {address}, which is more than {abi.MAX_MATCHES}; merge some")
        keys[i] = length, np.array([address], abi.ADDR)[0]
        for j, (mark, match) in enumerate(held):
            family = match.address.version
            values[i]["match"][j] = mark, match.low, match.high, _NUMBERS[match.protocol], family, 0
    return keys, values


def _length(match: Match) -> int:
    """Return the length of the prefix where IPv4 addresses are IPv6 ones."""
    return match.length + (8 * len(MAPPED) if match.address.version == 4 else 0)


def _head(length: int, address: bytes) -> tuple[int, int]:
    """Return the prefix of this *length* in which *address* is."""
    return length, int.from_bytes(address) >> 128 - length
