"""The check ping, of hosts in namespaces of their own: one that answers, one that is silent, one that is gone.

+-----------------+            +-----------------+
| near            |---- veth --| far             |
|   10.9.0.1      |            |   10.9.0.2      |
|   fd09::1       |            |   fd09::2       |
+-----------------+            +-----------------+
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.servers.asking import HASTY_S, TIMED_OUT, UP, ask_at
from tests.servers.hosts import pair, run
from xlvs.demo import netns
from xlvs.demo.wait import until

NEAR, FAR = f"xp{os.getpid()}n", f"xp{os.getpid()}f"
ADDRESS = {4: "10.9.0.2", 6: "fd09::2"}
NOBODY = {4: "10.9.0.3", 6: "fd09::3"}


@pytest.fixture(scope="module", autouse=True)
def hosts() -> Iterator[None]:
    """Make both hosts."""
    with pair(NEAR, FAR, {4: "10.9.0.", 6: "fd09::"}):
        until(lambda: all(ping(ADDRESS[family]) == UP for family in (4, 6)), "the hosts do not see each other")
        yield


def ping(address: str, timeout: float = 60, **options: int) -> str:
    """Ask from the near host."""
    return netns.inside(NEAR, lambda: ask_at(address, "ping", 0, options, timeout))


def setting(name: str, value: str) -> None:
    """Set a sysctl of the near host."""

    def write() -> None:
        with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
            file.write(value)

    netns.inside(NEAR, write)


@pytest.fixture(params=["1 0", "0 2147483647"], ids=["raw", "datagram"])
def groups(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let pings be made by raw sockets, then by those of icmp(7)."""
    setting("ping_group_range", request.param)
    yield
    setting("ping_group_range", "1 0")


@pytest.mark.usefixtures("groups")
@pytest.mark.parametrize("size", [16, 57, 20000])
def test_a_host_that_answers_is_up(family: int, size: int) -> None:
    """Requests of any size are answered, also of an odd one and in fragments."""
    assert ping(ADDRESS[family], size=size) == UP


@pytest.mark.usefixtures("groups")
def test_a_silent_host_is_down_until_it_answers(family: int) -> None:
    """A host that drops requests does not answer in time, and is up when it stops doing so."""
    rule = "icmpv6 type echo-request drop" if family == 6 else "icmp type echo-request drop"
    nft = ("ip", "netns", "exec", FAR, "nft")
    run(*nft, f"table inet t {{ chain c {{ type filter hook input priority 0; {rule}; }}; }}")
    try:
        assert ping(ADDRESS[family], HASTY_S) == TIMED_OUT
    finally:
        run(*nft, "delete table inet t")
    assert ping(ADDRESS[family]) == UP


@pytest.mark.usefixtures("groups")
def test_a_host_that_is_gone_is_down(family: int) -> None:
    """What ICMP says of an address that nobody has is the verdict, before any timeout."""
    assert "No route to host" in ping(NOBODY[family])


def test_no_route_is_a_verdict(family: int) -> None:
    """An address without a route is down."""
    assert "Network is unreachable" in ping({4: "198.51.100.1", 6: "2001:db8::1"}[family])


def test_the_machine_itself_is_up(family: int) -> None:
    """Our own requests, which a raw socket sees on the loopback interface, are not taken for replies."""
    assert ask_at({4: "127.0.0.1", 6: "::1"}[family], "ping") == UP
