"""The check of gRPC against grpcio and its health service."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import grpc_server, web
from tests.servers.asking import HASTY_S, TIMED_OUT, UP, ask
from tests.servers.authority import Authority
from tests.servers.databases import becomes, lives
from tests.servers.server import Server
from tests.servers.tls import verified

STATES = " SERVING\nshop.Cart SERVING\nshop.Search NOT_SERVING\n"


def grpcio(certificate: Path, states: str | None = STATES) -> Server:
    """Return a server with a health service, without one if there are no states."""
    server = Server("main", "tls")
    file = server.write("states", states) if states is not None else server.directory / "states"
    ports = [str(port) for port in server.ports.values()]
    server.argv = [sys.executable, str(Path(grpc_server.__file__)), *ports, str(certificate), str(file)]
    return server


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Server]:
    """Give out a server."""
    with grpcio(authority.certificate()) as made:
        yield made


@pytest.mark.parametrize(
    ("service", "verdict"),
    [
        ("", UP),
        ("shop.Cart", UP),
        ("shop.Search", "it is NOT_SERVING"),
        ("shop.Nothing", "its health service does not know the service 'shop.Nothing'"),
    ],
)
def test_a_service_is_serving(server: Server, service: str, verdict: str, family: int) -> None:
    """Serving is up, everything else is down."""
    assert ask("grpc", server.ports["main"], {"service": service}, family) == verdict


def test_tls_is_verified(server: Server, authority: Authority, family: int) -> None:
    """Certificate and name are held to what the check says."""
    verified("grpc", server.ports["tls"], {"service": "shop.Cart"}, family, authority)


def test_tls_where_there_is_none(server: Server) -> None:
    """TLS with a port that speaks none fails, and the other way about."""
    assert "SSL" in ask("grpc", server.ports["main"], {"tls": {}})
    assert ask("grpc", server.ports["tls"], {}, timeout=HASTY_S) not in (UP, TIMED_OUT)


def test_a_state_changes(authority: Authority) -> None:
    """What the server says of itself now is what counts."""
    with grpcio(authority.certificate()) as server:
        port = server.ports["main"]
        assert ask("grpc", port, {"service": "shop.Search"}) == "it is NOT_SERVING"
        server.write("states", "shop.Search SERVING\n NOT_SERVING\n")
        server.signal(signal.SIGHUP)
        becomes("grpc", port, {"service": "shop.Search"})
        becomes("grpc", port, {}, "it is NOT_SERVING")


def test_a_server_without_a_health_service_is_down(authority: Authority) -> None:
    """gRPC alone does not say that anything is well."""
    with grpcio(authority.certificate(), None) as server:
        assert ask("grpc", server.ports["main"]) == "it has no health service"


def test_a_web_server_is_down(authority: Authority) -> None:
    """HTTP is no gRPC."""
    with web.nginx(authority) as server:
        assert ask("grpc", server.ports["h2c"]) == "it does not speak gRPC, but answers with HTTP status 200"
        assert ask("grpc", server.ports["http"]) == "the server hung up without an answer"


def test_grpc_lives(authority: Authority, family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with grpcio(authority.certificate()) as server:
        lives(server, "grpc", {}, family)
        lives(server, "grpc", {"tls": {}}, family, "tls")
