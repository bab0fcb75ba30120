"""Connection thresholds on the real programs: full at the upper one, and until there are fewer than the lower one."""

from __future__ import annotations

import pytest

from tests.packet import network as net
from tests.packet.director import SENT, Director
from tests.packet.frames import at, tcp

SERVICE = f"{at(net.VIP[4], 80)}/tcp"
REAL = f"{at(net.server(4, 1), 80)} route"


class Client:
    """One client; its connections are known by their source ports."""

    def __init__(self, director: Director, hook: str) -> None:
        self._director = director
        self._hook = hook

    def opens(self, port: int) -> bool:
        """Send a SYN; say whether a server took it."""
        return self._send(port, "S")

    def ends(self, port: int) -> None:
        """Establish the connection and reset it: it counts until it is forgotten."""
        assert self._send(port, "A")
        assert self._send(port, "R")

    def opens_again(self, port: int) -> bool:
        """End the connection and open one from the same port, for which the old one is forgotten; say as `opens`."""
        self.ends(port)
        return self.opens(port)

    def _send(self, port: int, flags: str) -> bool:
        frame = tcp(f"{at(net.CLIENT[4], port)} > {at(net.VIP[4], 80)}", flags)
        out = self._director.packet(frame, self._hook)
        return out.verdict is SENT and out.packet[6:12].hex(":") == net.INSIDE_MAC


@pytest.fixture
def client(director: Director, hook: str) -> Client:
    """A client."""
    return Client(director, hook)


@pytest.mark.parametrize(("limits", "upper", "below"), [("x=4 y=2", 4, 2), ("x=4", 4, 3), ("x=5", 5, 4), ("x=1", 1, 1)])
def test_a_full_server_takes_none_before_the_lower_threshold(
    director: Director, client: Client, limits: str, upper: int, below: int
) -> None:
    """It takes as many as the upper threshold says; then none until fewer than the lower, or 3/4, are left."""
    director.service(SERVICE, f"{REAL} w=1 {limits}")
    assert [client.opens(port) for port in range(1, upper + 3)] == [True] * upper + [False] * 2
    # Each that ends leaves one less, until at below - 1 the port's new one is taken.
    taken = [client.opens_again(port) for port in range(1, upper - below + 2)]
    assert taken == [False] * (upper - below) + [True]
    # Full again only at the upper threshold.
    assert [client.opens(port) for port in range(100, 102 + upper - below)] == [True] * (upper - below) + [False] * 2


def test_active_and_inactive_connections_count_alike(director: Director, client: Client) -> None:
    """A connection that is over counts until it is forgotten."""
    director.service(SERVICE, f"{REAL} w=1 x=2 y=1")
    assert client.opens(1)
    assert client.opens(2)
    client.ends(1)
    client.ends(2)
    assert director.load(REAL.split()[0]) == (0, 2)
    assert not client.opens(3)


def test_a_step_from_active_to_inactive_fills_no_server(director: Director, client: Client) -> None:
    """While it is counted, there is never one connection too many."""
    director.service(SERVICE, f"{REAL} w=1 x=3 y=1")
    assert client.opens(1)
    assert client.opens(2)
    client.ends(1)
    assert client.opens(3)
    assert not client.opens(4)


def test_who_is_full_is_asked_again_when_the_limit_is_raised_or_lifted(director: Director, client: Client) -> None:
    """A higher limit counts from now on; a lower one keeps a full server full."""
    director.service(SERVICE, f"{REAL} w=1 x=2 y=1")
    assert [client.opens(port) for port in (1, 2, 3)] == [True, True, False]
    director.service(SERVICE, f"{REAL} w=1 x=1 y=1")
    assert not client.opens(4)
    director.service(SERVICE, f"{REAL} w=1 x=4 y=1")
    assert [client.opens(port) for port in (5, 6, 7)] == [True, True, False]
    director.service(SERVICE, f"{REAL} w=1")
    assert [client.opens(port) for port in range(8, 12)] == [True] * 4


def test_a_limit_that_comes_late_counts_with_the_next_connection(director: Director, client: Client) -> None:
    """A server that has more already takes one more, as in IPVS, and is full then."""
    director.service(SERVICE, f"{REAL} w=1")
    assert [client.opens(port) for port in range(1, 6)] == [True] * 5
    director.service(SERVICE, f"{REAL} w=1 x=3")
    assert [client.opens(port) for port in (6, 7)] == [True, False]


def test_full_servers_keep_their_connections(director: Director, client: Client) -> None:
    """Packets of what is open go on; only new connections are refused."""
    director.service(SERVICE, f"{REAL} w=1 x=1")
    assert client.opens(1)
    assert not client.opens(2)
    client.ends(1)
    assert director.drops() in ({}, {"no_server": 1})
