"""What a real IPVS (Linux 6.1) knew after the packets of `test_captured`: its connections, and its counters.

`data/captured/connections.json` holds the rows of ``ipvsadm -Lnc`` without the time, `counters.json` those of
``-Ln --stats``.  The kernel adds counters up every two seconds: those it had not yet when it was asked are left out.
"""

from __future__ import annotations

import json
import re

import pytest

from tests.packet.director import Director, at
from tests.packet.test_captured import CASES, DATA, SERVICES, captured_director, sent

__all__ = ["captured_director"]

CONNECTIONS: dict[str, list[str]] = json.loads((DATA / "connections.json").read_text())
COUNTERS: dict[str, dict[str, list[int]]] = json.loads((DATA / "counters.json").read_text())

_BY_HOST = ("local-v.-(dr|tun|nat)", "what the host answers as the real server passes no hook")

LISTED_UNLIKE = [_BY_HOST, ("schedule_icmp1.*-v4", "of UDP the kernel lists no connection; it does with IPv6")]
"""Cases in which we list other connections, and why."""

COUNTED_UNLIKE = [
    _BY_HOST,
    ("frag-", "each fragment is a packet, the kernel counts the datagram"),
    ("mtu-(?!.*pmtu)", "the kernel counts what was too big as come in, and its own errors as gone out"),
    ("icmp-tun-timeexceeded|sctp-nat-no-answer", "the kernel counts its own errors as gone out"),
]
"""Cases in which we count otherwise, and why."""


def is_unlike(case: str, table: list[tuple[str, str]]) -> bool:
    """Return whether the table names the case."""
    return any(re.match(pattern, case) for pattern, _ in table)


@pytest.mark.parametrize("case", [case for case in CASES if case in CONNECTIONS])
def test_listed_as_by_ipvs(captured_director: Director, case: str) -> None:
    """The same connections in the same states; of a template no port of the client's counts."""
    sent(captured_director, case, "xdp")
    ours = []
    for flow in captured_director.flows():
        client = (flow.client[0], 0 if flow.state == "ASSURED" else flow.client[1])
        ours.append(f"{flow.state} {at(*client)} {at(*flow.virtual)} {flow.server}")
    theirs = []
    for row in CONNECTIONS[case]:
        _, state, client_end, virtual, server = row.split()
        theirs.append(f"{state} {client_end} {virtual} {server.rpartition(':')[0].strip('[]')}")
    if is_unlike(case, LISTED_UNLIKE):
        assert sorted(ours) != sorted(theirs)
    else:
        assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("case", [case for case in CASES if case in COUNTERS])
def test_counted_as_by_ipvs(captured_director: Director, case: str) -> None:
    """Connections, packets and bytes, of every service and every server."""
    sent(captured_director, case, "xdp")
    ours, theirs = {}, {}
    for row, numbers in COUNTERS[case].items():
        protocol, virtual, *real = row.replace(" >", "").split()
        key = f"{virtual}/{protocol.lower()}"
        ours[row] = list(captured_director.stats(real[0], key) if real else captured_director.service_stats(key))
        # The kernel counts a connection of one-packet scheduling twice if its service is persistent.
        theirs[row] = [numbers[0] >> any(re.search("-p .*-o$", line) for line in SERVICES[case]), *numbers[1:]]
    if is_unlike(case, COUNTED_UNLIKE):
        assert ours != theirs
    else:
        assert ours == theirs
