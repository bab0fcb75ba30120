"""The check of Envoy at its administration interface."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import web
from tests.servers.asking import UP, ask
from tests.servers.authority import Authority
from tests.servers.databases import lives
from tests.servers.server import LOOPBACK, Server, program
from xlvs.health import Target


def binary() -> str:
    """Return the path of Envoy, which a Python package brings."""
    found = importlib.util.find_spec("envoy")
    assert found is not None, "the environment has no Envoy"
    assert found.origin is not None
    return str(Path(found.origin).with_name("_bin") / "envoy")


def envoy(family: int) -> Server:
    """Return an Envoy without any traffic."""
    server = Server("main")
    server.families = (family,)
    place = {"address": LOOPBACK[family], "port_value": server.ports["main"]}
    config = server.write("envoy.json", json.dumps({"admin": {"address": {"socket_address": place}}}))
    server.argv = [binary(), "-c", str(config), "--concurrency", "1", "--disable-hot-restart"]
    return server


@pytest.fixture
def server(family: int) -> Iterator[Server]:
    """Give out an Envoy."""
    with envoy(family) as made:
        yield made


def tell(server: Server, family: int, path: str) -> None:
    """Give a command to the administration interface."""
    host = Target(LOOPBACK[family], server.ports["main"]).host
    argv = [program("curl"), "-sS", "-X", "POST", f"http://{host}:{server.ports['main']}{path}"]
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == "OK\n"


def test_envoy_drains(server: Server, family: int) -> None:
    """One that is told to fail its health checks is down, until it is told not to."""
    port = server.ports["main"]
    assert ask("envoy", port, {}, family) == UP
    tell(server, family, "/healthcheck/fail")
    assert ask("envoy", port, {}, family) == "it is DRAINING"
    tell(server, family, "/healthcheck/ok")
    assert ask("envoy", port, {}, family) == UP


def test_a_web_server_is_down(authority: Authority) -> None:
    """A good answer that is not LIVE is not enough."""
    with web.nginx(authority) as server:
        assert ask("envoy", server.ports["http"]) == r"its body does not match '\\ALIVE\\s*\\Z'"


def test_envoy_lives(family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with envoy(family) as server:
        lives(server, "envoy", {}, family)
