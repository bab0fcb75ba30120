"""Health of servers by the API: what is written is read, and what means nothing is refused."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.unit.daemon.api.fake import FakeDirector
from xlvs.cli.client import Client
from xlvs.errors import NoSuchServerError, XlvsError
from xlvs.health.checker import ServerState
from xlvs.model import Health, Notify, ServerHealth

LISTEN = {"protocol": "tcp", "address": "192.0.2.1", "port": 80}
HEALTH: dict[str, Any] = {
    "checks": [{"type": "http", "path": "/ready", "interval": "1s"}, {"type": "tcp"}],
    "alpha": True,
    "quorum": 2,
    "notify": {"down": "/bin/true gone"},
}
SORRY = {"address": "10.0.0.99", "port": 80, "forward": "nat"}
OWN = {"checks": [{"type": "tcp", "port": 81}], "inhibit": True}
REAL = [{"address": f"10.0.0.{n}", "port": 80, "forward": "nat", "weight": 5} for n in (1, 2)]
BODY = {"listen": LISTEN, "servers": [REAL[0], {**REAL[1], "health": OWN}], "health": HEALTH, "sorry_server": SORRY}
ID = "/v1/services/tcp:192.0.2.1:80"


def test_what_is_written_is_read(client: Client, director: FakeDirector) -> None:
    """Whole, and can be written again as it was got."""
    client.post("/v1/services", BODY)
    (service,) = director.engine.state.services.values()
    assert service.health == Health(
        ({"type": "http", "path": "/ready", "interval": "1s"}, {"type": "tcp"}),
        alpha=True, quorum=2, notify=Notify(down="/bin/true gone"),
    )  # fmt: skip
    assert service.servers[1].health == ServerHealth(({"type": "tcp", "port": 81},), None, True)
    assert str(service.sorry_server) == "10.0.0.99:80"
    got = client.get(ID, {"counters": False})
    assert got["health"]["checks"] == HEALTH["checks"]
    assert got["servers"][1]["health"] == OWN
    client.put(ID, {word: got[word] for word in ("listen", "scheduler", "servers", "health", "sorry_server")})
    assert director.engine.state.services[service.key] == replace(service)


def test_it_is_changed_alone_and_taken_away(client: Client, director: FakeDirector) -> None:
    """A patch of anything else keeps it; null is none."""
    client.post("/v1/services", BODY)
    client.patch(ID, {"scheduler": "rr"})
    assert client.get(ID)["health"]["quorum"] == 2
    client.patch(ID, {"health": {"quorum": 1}})
    assert client.get(ID)["health"] == {"notify": {}}
    client.patch(ID, {"health": None, "sorry_server": None})
    assert not {"health", "sorry_server"} & client.get(ID).keys()


@pytest.mark.parametrize(
    ("health", "sentence"),
    [
        ({"checks": [{"type": "htp"}]}, "there is no health check 'htp' (did you mean 'http'?)"),
        ({"checks": [{"path": "/"}]}, "a health check lacks its type"),
        ({"quorum": 2, "hysteresis": 2}, "a quorum of 2 with a hysteresis of 2 cannot be"),
        ({"qorum": 2}, "qorum"),
    ],
)
def test_what_means_nothing_is_refused(
    health: dict[str, Any], sentence: str, client: Client, director: FakeDirector
) -> None:
    """In a sentence, and nothing is changed."""
    client.post("/v1/services", BODY)
    before = director.engine.state
    with pytest.raises(XlvsError) as caught:
        client.patch(ID, {"health": health})
    assert sentence in str(caught.value)
    assert director.engine.state is before


def test_the_weight_in_force_is_shown_where_it_is_another(client: Client, director: FakeDirector) -> None:
    """0 for a server that is taken out; the configured one stays beside it."""
    client.post("/v1/services", BODY)
    director.engine.judge = lambda service: replace(service, servers=(replace(service.servers[0], weight=3),))
    for counters in ("true", "connections", "false"):
        shown = client.get(ID, {"counters": counters})["servers"]
        assert [(s["weight"], s.get("effective")) for s in shown] == [(5, 3), (5, 0)]


def test_states_are_listed(client: Client, director: FakeDirector) -> None:
    """As the checker has them."""
    director.states = [ServerState("web", "10.0.0.1:80", "down", 0, 1.5, "refused", ["tcp"])]
    assert client.get("/v1/health") == [
        {
            "service": "web", "server": "10.0.0.1:80", "state": "down", "weight": 0,
            "since": 1.5, "why": "refused", "checks": ["tcp"],
        }
    ]  # fmt: skip


def test_a_server_is_drained_and_taken_back(client: Client, director: FakeDirector) -> None:
    """By service and address; its state is the answer.  A dry run, and a server that is not there, do nothing."""
    client.post("/v1/services", BODY)
    path = f"{ID}/servers/10.0.0.1:80/drain"
    client.put(path, None, {"dry-run": True})
    with pytest.raises(NoSuchServerError, match="has no real server 10.0.0.7:80"):
        client.put(f"{ID}/servers/10.0.0.7:80/drain", None)
    assert [row["state"] for row in client.put(path, None)] == ["draining"]
    client.delete(path)
    told = [word for word in director.told if "drain" in word]
    assert told == ["drain tcp:192.0.2.1:80 10.0.0.1:80", "undrain tcp:192.0.2.1:80 10.0.0.1:80"]
