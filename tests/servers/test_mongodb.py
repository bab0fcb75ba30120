"""The check of MongoDB: the real driver, against a stand-in that speaks just enough.

No MongoDB can be had from Debian or as a Python package: what is seen here is that the driver logs in, asks, is told
its errors in one sentence, and leaves nothing behind, not that MongoDB answers as `mongo_server` does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import mongo_server
from tests.servers.asking import TIMED_OUT, UP, ask
from tests.servers.authority import Authority
from tests.servers.databases import ANN, WRONG, lives
from tests.servers.server import Server


def mongodb(certificate: Path, role: str = "primary") -> Server:
    """Return a server in this role."""
    server = Server("main", "tls")
    ports = [str(port) for port in server.ports.values()]
    file = server.write("role", role)
    server.argv = [sys.executable, str(Path(mongo_server.__file__)), *ports, str(certificate), str(file)]
    return server


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Server]:
    """Give out a server."""
    with mongodb(authority.certificate()) as made:
        yield made


def test_a_login_is_tried(server: Server, family: int, tmp_path: Path) -> None:
    """The right password is taken, a wrong one is not, and one from a file is; without a user there is no login."""
    port = server.ports["main"]
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert ask("mongodb", port, {}, family) == UP
    assert ask("mongodb", port, ANN, family) == UP
    assert ask("mongodb", port, {"user": "ann", "password_file": str(file)}, family) == UP
    assert ask("mongodb", port, WRONG, family).startswith("Authentication failed.")


@pytest.mark.parametrize(
    ("role", "found"),
    [("primary", "primary"), ("secondary", "secondary"), ("arbiter", "neither primary nor secondary")],
)
def test_the_role_is_looked_at(server: Server, role: str, found: str) -> None:
    """The role is what the server says now."""
    port = server.ports["main"]
    server.write("role", role)
    assert ask("mongodb", port) == UP
    for wanted in ("primary", "secondary"):
        assert ask("mongodb", port, {"role": wanted}) == (UP if wanted == found else f"it is {found}, not {wanted}")


def test_tls_is_verified(server: Server, authority: Authority, family: int) -> None:
    """A certificate by our authority is good; by another, or for another name, it is not."""
    port = server.ports["tls"]
    trusted = {"verify": True, "ca": str(authority.ca)}
    assert ask("mongodb", port, {"tls": {}} | ANN, family) == UP
    assert ask("mongodb", port, {"tls": trusted}, family) == UP
    assert "certificate verify failed" in ask("mongodb", port, {"tls": {"verify": True}}, family)
    assert ask("mongodb", server.ports["main"], {"tls": {}}, family) not in (UP, TIMED_OUT)


def test_tls_for_another_name(authority: Authority, family: int) -> None:
    """The certificate must be for the address."""
    with mongodb(authority.certificate(loopback=False)) as server:
        trusted = {"verify": True, "ca": str(authority.ca)}
        assert "mismatch" in ask("mongodb", server.ports["tls"], {"tls": trusted}, family)


def test_mongodb_lives(authority: Authority, family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with mongodb(authority.certificate()) as server:
        lives(server, "mongodb", ANN, family, dead="[Errno 111] Connect call failed")
        lives(server, "mongodb", {"tls": {}}, family, "tls", "[Errno 111] Connect call failed")
