"""A client on the director itself uses the virtual address as any other client does.

director (client and VIP) ── switch ── real1, real2, real3 (nginx)
"""

from __future__ import annotations

import asyncio

from tests.netns.lab import HTTP, Lab
from xlvs.demo import netns, topology
from xlvs.demo.topology import VIP
from xlvs.demo.traffic import Job, Result, run

REQUESTS = 60


def test_requests_from_the_director_are_balanced(lab: Lab, family: int) -> None:
    """Every request of a local client is answered, evenly by all servers."""
    job = Job("tcp", VIP[family], HTTP, [topology.director_address(family)], REQUESTS, concurrency=4)
    result = Result()
    netns.inside(lab.topology.director, lambda: asyncio.run(run(job, result)))
    assert result.errors == {}
    assert dict(result.per_server) == dict.fromkeys(topology.server_addresses(4), REQUESTS // 3)
