"""The operations, each over a real socket: what is written is read, and whose it is decides who deletes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.daemon.api.fake import FakeDirector
from xlvs.cli.client import Client
from xlvs.errors import (
    ConflictError,
    InvalidError,
    NoSuchServerError,
    NoSuchServiceError,
    OwnedError,
    ServerExistsError,
    ServiceExistsError,
    UnknownSchedulerError,
    XlvsError,
)

LISTEN = {"protocol": "tcp", "address": "192.0.2.1", "port": 80}
REAL = {"address": "10.0.0.1", "port": 8080, "forward": "nat", "weight": 1, "upper": 0, "lower": 0}
WEB: dict[str, Any] = {
    "listen": LISTEN, "scheduler": "rr", "flags": [], "servers": [REAL], "name": "web", "device": ""
}  # fmt: skip
ID = "/v1/services/tcp:192.0.2.1:80"
ZEROS = dict.fromkeys(("conns", "in_pkts", "out_pkts", "in_bytes", "out_bytes"), 0)


@pytest.fixture
def web(client: Client) -> Client:
    """A client of a director with one service and one server, both of owner api."""
    client.post("/v1/services", WEB)
    return client


def plain(client: Client) -> list[dict[str, Any]]:
    """Return the services without counters."""
    services: list[dict[str, Any]] = client.get("/v1/services", {"counters": False})["services"]
    return services


def test_what_was_added_is_listed(web: Client) -> None:
    """Services and servers come back as they were given, with owner and counters, by id and by name."""
    counted = {"stats": ZEROS, "rates": ZEROS}
    tunnel = {"tunnel_port": 0, "tunnel_checksum": "none"}
    server = {**REAL, "owner": "api", **tunnel, "active": 0, "inactive": 0, "persistent": 0, **counted}
    rest = {"persistent": 0, "netmask": "", "engine": "", "ops": False, "table": 0, "match": []}
    assert web.get(ID) == {**WEB, "owner": "api", "servers": [server], **rest, **counted}
    assert web.get("/v1/services") == {"generation": 1, "services": [web.get(ID)]}
    assert web.get("/v1/services/web") == web.get(ID)


@pytest.mark.parametrize("counters", ["true", "connections", "false"])
def test_one_service_is_shown_as_in_the_list(counters: str, web: Client, director: FakeDirector) -> None:
    """With as much counted as was asked for."""
    web.post("/v1/services", {"listen": {**LISTEN, "port": 81}, "servers": [REAL, {**REAL, "port": 1}]})
    kernel = director.engine.kernel
    kernel.raw["server"][:3] = np.arange(15).reshape(3, 5)
    kernel.raw["service"][:2] = 7
    kernel.load_rows[:3] = [[1, 2, 0], [3, 4, 0], [5, 6, 7]]
    listed = web.get("/v1/services", {"counters": counters})["services"]
    shown = [web.get(f"/v1/services/tcp:192.0.2.1:{port}", {"counters": counters}) for port in (80, 81)]
    assert shown == listed
    last = listed[1]["servers"][1]
    assert ("stats" in last, last.get("active")) == (counters == "true", None if counters == "false" else 5)


def test_one_service_is_read_at_the_cost_of_one(web: Client, director: FakeDirector) -> None:
    """No map is read as a whole for it."""
    director.engine.kernel.reads.clear()
    web.get(ID)
    assert director.engine.kernel.reads == ["one load", "one server", "one service"]


def test_every_change_is_a_generation_with_its_tag(client: Client, director: FakeDirector) -> None:
    """The answer to a write and the next reading carry it; the daemon is told, and which services it is about."""
    assert client.post("/v1/services", WEB)["generation"] == 1
    assert client.generation == 1
    assert client.put(f"{ID}/servers/10.0.0.1:8080", {**REAL, "weight": 5})["generation"] == 2
    client.get("/v1/config")
    assert client.generation == 2
    assert director.told == ["changed", "changed"]
    assert [[key.id for key in keys or ()] for keys in director.engine.applied] == [["tcp:192.0.2.1:80"]] * 2


def test_what_changes_nothing_is_no_change(web: Client, director: FakeDirector) -> None:
    """The same again keeps the generation, so that watchers hear of changes only."""
    assert web.put(ID, WEB) == {"generation": 1, "differences": []}
    assert len(director.engine.applied) == 1


def test_write_on_a_condition_fails_once_the_state_has_changed(web: Client) -> None:
    """If-Match names a generation; another one changes nothing."""
    web.patch(ID, {"scheduler": "wlc"}, if_match=1)
    with pytest.raises(ConflictError, match="generation 2"):
        web.patch(ID, {"scheduler": "rr"}, if_match=1)
    assert web.get(ID)["scheduler"] == "wlc"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/v1/services", {"listen": {**LISTEN, "port": 81}}),
        ("put", ID, {**WEB, "servers": []}),
        ("patch", ID, {"scheduler": "mh"}),
        ("delete", ID, None),
        ("delete", "/v1/services", None),
        ("post", f"{ID}/servers", {**REAL, "port": 1}),
        ("put", f"{ID}/servers/10.0.0.1:8080", {**REAL, "weight": 9}),
        ("patch", f"{ID}/servers/10.0.0.1:8080", {"weight": 9}),
        ("delete", f"{ID}/servers/10.0.0.1:8080", None),
        ("put", "/v1/config", {"services": []}),
    ],
)
def test_dry_run_tells_what_the_write_would_do(method: str, path: str, body: Any, web: Client) -> None:
    """The same differences as the write itself, and nothing has changed before it."""
    before = web.get("/v1/config")
    arguments = [path] if body is None else [path, body]
    told = getattr(web, method)(*arguments, query={"dry-run": True})
    assert web.get("/v1/config") == before
    done = getattr(web, method)(*arguments)
    assert told == {**done, "generation": 1}
    assert done["generation"] == 2 and done["differences"]
    assert web.get("/v1/config") != before


def test_patch_changes_what_it_names_and_null_is_the_default(web: Client) -> None:
    """JSON merge patch (RFC 7396): the rest stays, the servers too."""
    web.patch(ID, {"scheduler": "sh", "flags": ["flag-2"], "name": None})
    (service,) = plain(web)
    assert (service["scheduler"], service["flags"], service["name"]) == ("sh", ["flag-2"], "")
    web.patch(ID, {"scheduler": None, "flags": None})
    assert [(s["scheduler"], s["flags"], len(s["servers"])) for s in plain(web)] == [("wlc", [], 1)]


def test_editing_a_server_keeps_its_place(web: Client) -> None:
    """An edited server is not the newest."""
    web.post(f"{ID}/servers", {**REAL, "address": "10.0.0.2"})
    web.patch(f"{ID}/servers/10.0.0.1:8080", {"weight": 5, "forward": None})
    servers = [(s["address"], s["weight"], s["forward"]) for s in plain(web)[0]["servers"]]
    assert servers == [("10.0.0.1", 5, "route"), ("10.0.0.2", 1, "nat")]


def test_put_creates_what_is_not_there(client: Client) -> None:
    """By id, or by the name that the body gives it; a server likewise, with IPv6 in brackets."""
    listen = {"protocol": "udp", "address": "2001:db8::1", "port": 53}
    client.put("/v1/services/dns", {"listen": listen, "name": "dns"})
    client.put(ID, WEB)
    client.put(
        "/v1/services/udp:[2001:db8::1]:53/servers/[fd00::1]:53", {"address": "fd00::1", "port": 53, "forward": "nat"}
    )
    assert [(s["name"], len(s["servers"])) for s in plain(client)] == [("dns", 1), ("web", 1)]


def test_what_belongs_to_others_is_deleted_by_force_only(web: Client) -> None:
    """A service, a server, and a service put without a server of others."""
    web.post(f"{ID}/servers", {**REAL, "port": 1}, {"owner": "cli"})
    for refused in (
        lambda **query: web.delete(ID, {"owner": "cli", **query}),
        lambda **query: web.delete(f"{ID}/servers/10.0.0.1:1", query),
        lambda **query: web.put(ID, WEB, query),
        lambda **query: web.put(ID, {**WEB, "scheduler": "lc"}, {"owner": "cli", **query}),
    ):
        with pytest.raises(OwnedError, match="belongs to (api, not to cli|cli, not to api)"):
            refused()
        refused(force=True, **{"dry-run": True})
    web.delete(ID, {"force": True})
    assert plain(web) == []


def test_flush_takes_what_is_ones_own(web: Client) -> None:
    """Services and servers of others stay, and the answer says how many services those are."""
    web.post(f"{ID}/servers", {**REAL, "port": 1}, {"owner": "cli"})
    web.post("/v1/services", {"listen": {**LISTEN, "port": 81}}, {"owner": "cli"})
    assert web.delete("/v1/services", {"owner": "cli"})["remaining"] == 1
    assert [len(s["servers"]) for s in plain(web)] == [1]
    assert web.delete("/v1/services", {"owner": "x", "force": True})["remaining"] == 0


def test_config_can_be_put_as_it_was_got(web: Client) -> None:
    """What others have stays, what the owner no longer names goes, and nothing else has changed."""
    web.post("/v1/services", {"listen": {**LISTEN, "port": 81}}, {"owner": "cli"})
    config = web.get("/v1/config")
    mine = {**config, "services": [s for s in config["services"] if s["owner"] == "api"]}
    assert web.put("/v1/config", mine)["differences"] == []
    assert len(web.put("/v1/config", {"services": []})["differences"]) == 1
    assert [s["owner"] for s in plain(web)] == ["cli"]
    with pytest.raises(XlvsError, match="cli"):
        web.put("/v1/config", config)


def test_zero_begins_anew(web: Client, director: FakeDirector) -> None:
    """Of one service, or of all."""
    director.engine.kernel.raw["service"][:] = 7
    web.post("/v1/zero", query={"service": "web", "dry-run": True})
    assert web.get(ID)["stats"]["conns"] == 7
    web.post("/v1/zero", query={"service": "web"})
    assert web.get(ID)["stats"]["conns"] == 0
    director.engine.kernel.raw["service"][:] = 9
    web.post("/v1/zero")
    assert web.get("/v1/services")["services"][0]["stats"]["conns"] == 0


def test_the_director_tells_of_itself_and_obeys(client: Client, director: FakeDirector) -> None:
    """Status, drops, counters, interfaces, timeouts; reload and stop."""
    status = client.get("/v1/status")
    assert status["pid"] == 4711 and status["warnings"] == ["forwarding is off"] and status["max_flows"] == 4096
    assert client.get("/v1/drops") == {"no_server": 3}
    assert client.get("/v1/counters") == {"flow_new": 7}
    assert client.get("/v1/interfaces") == [{"name": "eth0", "hook": "xdp", "why": "physical"}]
    assert client.get("/v1/timeouts") == {"tcp": 900, "tcpfin": 120, "udp": 300}
    client.patch("/v1/timeouts", {"udp": 60})
    assert client.get("/v1/timeouts") == {"tcp": 900, "tcpfin": 120, "udp": 60}
    client.post("/v1/reload")
    client.post("/v1/stop")
    client.post("/v1/stop", query={"purge": True})
    assert director.told == ["changed", "reload", "stop", "purge"]


def test_status_says_how_full_the_flow_table_is(web: Client, director: FakeDirector) -> None:
    """How many flows there are, how many are not near their place, and for how many of each family it is made."""
    director.engine.kernel.load_rows[0] = (3, 4, 2)
    director.engine.kernel.held.add(("198.51.100.1", 1001), ("192.0.2.1", 80), 0, spilled=True)
    status = web.get("/v1/status")
    assert (status["flows"], status["spilled_flows"]) == (7, 1)
    assert (status["max_flows"], status["max_flows6"]) == (4096, 4096)


REFUSED: list[tuple[str, str, Any, type[XlvsError]]] = [
    ("post", "/v1/services", WEB, ServiceExistsError),
    ("post", "/v1/services", {**WEB, "listen": {**LISTEN, "port": 81}}, ServiceExistsError),
    ("post", "/v1/services", {"listen": {**LISTEN, "port": 81}, "scheduler": "wlcc"}, UnknownSchedulerError),
    ("post", "/v1/services", {"listen": {**LISTEN, "port": 81}, "servers": [REAL, REAL]}, InvalidError),
    ("post", "/v1/services", {"listen": {**LISTEN, "address": "::ffff:192.0.2.1"}}, InvalidError),
    ("put", ID, {**WEB, "listen": {**LISTEN, "port": 81}}, InvalidError),
    ("put", "/v1/services/other", {**WEB, "listen": {**LISTEN, "port": 81}}, NoSuchServiceError),
    ("put", "/v1/services/1:2", WEB, InvalidError),
    ("patch", "/v1/services/tcp:192.0.2.1:81", {"scheduler": "rr"}, NoSuchServiceError),
    ("patch", ID, {"scheduler": "wlcc"}, UnknownSchedulerError),
    ("delete", "/v1/services/tcp:192.0.2.1:81", None, NoSuchServiceError),
    ("post", "/v1/services/nope/servers", REAL, NoSuchServiceError),
    ("post", f"{ID}/servers", REAL, ServerExistsError),
    ("post", f"{ID}/servers", {**REAL, "port": 1, "upper": 5, "lower": 6}, InvalidError),
    ("post", f"{ID}/servers", {**REAL, "port": 1, "upper": 5, "lower": 9}, InvalidError),
    ("post", f"{ID}/servers", {**REAL, "address": "fd00::1"}, InvalidError),
    ("put", f"{ID}/servers/10.0.0.1:8080", {**REAL, "port": 1}, InvalidError),
    ("put", f"{ID}/servers/10.0.0.1:99999999999999999999", REAL, InvalidError),
    ("patch", f"{ID}/servers/10.0.0.9:1", {"weight": 2}, NoSuchServerError),
    ("delete", f"{ID}/servers/fd00::1:1", None, InvalidError),
    ("delete", f"{ID}/servers/10.0.0.9:1", None, NoSuchServerError),
    ("put", "/v1/config", {"services": [WEB, WEB]}, XlvsError),
    ("post", "/v1/zero?", None, XlvsError),
]


@pytest.mark.parametrize(("method", "path", "body", "error"), REFUSED)
def test_what_is_wrong_is_refused_and_changes_nothing(
    method: str, path: str, body: Any, error: type[XlvsError], web: Client
) -> None:
    """Each wrong request has its own kind of error, and the services stay as they were."""
    before = web.get("/v1/config")
    with pytest.raises(error):
        getattr(web, method)(*([path] if body is None else [path, body]))
    assert (web.get("/v1/config"), web.generation) == (before, 1)


NEW = {**LISTEN, "port": 81}
BY_MARK = {"protocol": "fwm", "mark": 1}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "not as expected: Object missing required field `listen`"),
    ({"listen": {**NEW, "prot": 1}}, "not as expected: Object contains unknown field `prot` - at `$.listen`"),
    ({"listen": {**NEW, "port": "81"}}, "not as expected: Expected `int`, got `str` - at `$.listen.port`"),
    ({"listen": {"protocol": "tcp", "port": 81}}, "listen lacks its address; write one as 192.0.2.1"),
    ({"listen": {**NEW, "mark": 7}}, "mark 7 is a service's whose protocol is fwm, not tcp"),
    ({"listen": {"protocol": "fwm"}}, "firewall mark 0 is outside 1..4294967295"),
    (
        {"listen": NEW, "servers": [REAL, {**REAL, "port": 1}, REAL]},
        "virtual service 192.0.2.1:81/tcp has the real server 10.0.0.1:8080 more than once",
    ),
    (
        {"listen": NEW, "match": [{"address": "192.0.2.0/24"}]},
        "192.0.2.1:81/tcp has an address; match is for services by firewall mark",
    ),
    (
        {"listen": BY_MARK, "match": [{"address": "2001:db8::/32"}]},
        "2001:db8::/32 is no IPv4, of which firewall mark 1 is",
    ),
    ({"listen": BY_MARK, "match": [{"address": "::", "ports": "x"}]}, "'x' is no port or range of ports"),
    ({"listen": BY_MARK, "device": "eth0"}, "firewall mark 1 has no virtual address to be put on eth0"),
]


@pytest.mark.parametrize(("body", "sentence"), WRONG)
def test_what_is_wrong_with_a_service_is_said(body: dict[str, Any], sentence: str, web: Client) -> None:
    """In one sentence, and nothing is added."""
    with pytest.raises(InvalidError) as caught:
        web.post("/v1/services", body)
    assert str(caught.value).startswith(sentence)
    assert [service["name"] for service in plain(web)] == ["web"]


def test_what_the_kernel_refuses_has_not_happened(web: Client, director: FakeDirector) -> None:
    """The engine's refusal is the client's, and nobody is told of a change."""
    director.told.clear()
    director.engine.refusal = XlvsError("the kernel has no room for it")
    with pytest.raises(XlvsError, match="no room"):
        web.patch(ID, {"scheduler": "lc"})
    assert director.told == []
