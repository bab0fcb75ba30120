"""The checks radius and sip against freeradius and sipp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import signalling
from tests.servers.asking import HASTY_S, TIMED_OUT, UP, ask

ANN = {"user": "ann", "password": "secret", "shared_secret": "testing"}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Give out the port of a RADIUS server."""
    with signalling.radius() as server:
        yield server.ports["radius"]


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        (ANN, UP),
        (ANN | {"signed": True}, UP),
        (ANN | {"user": "eve"}, UP),
        (ANN | {"user": "eve", "signed": True}, "its answer is not signed as it should be; is the secret the same?"),
        (ANN | {"password": "wrong"}, "its answer is Access-Reject: go away"),
        (ANN | {"password": "wrong", "reject_ok": True}, UP),
        (ANN | {"user": "bob"}, "its answer is Access-Reject: go away"),
    ],
)
def test_a_user_is_looked_up(port: int, family: int, options: dict[str, Any], verdict: str) -> None:
    """The right password is accepted; a refusal is an answer too, if we say so."""
    assert ask("radius", port, options, family) == verdict


def test_secrets_come_from_files(port: int, tmp_path: Path) -> None:
    """Password and secret are the first lines of their files."""
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "shared").write_text("testing\n")
    files = {"password_file": str(tmp_path / "password"), "shared_secret_file": str(tmp_path / "shared")}
    assert ask("radius", port, {"user": "ann"} | files) == UP


def test_another_secret_has_no_answer(port: int) -> None:
    """A server drops what is signed with another secret."""
    assert ask("radius", port, ANN | {"shared_secret": "other"}, timeout=HASTY_S) == TIMED_OUT


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("answer", "options", "verdict"),
    [
        ("200 OK", {}, UP),
        ("200 OK", {"uri": "sip:service@example.org", "user": "checker"}, UP),
        ("503 Service Unavailable", {}, "status 503 Service Unavailable, not 200"),
        ("503 Service Unavailable", {"status": "200,500-599"}, UP),
        ("100 Trying", {"timeout": HASTY_S}, TIMED_OUT),
    ],
)
def test_options_are_answered(transport: str, family: int, answer: str, options: dict[str, Any], verdict: str) -> None:
    """The final answer has a status that is wanted; a provisional one is waited after."""
    with signalling.sip(transport, family, f"SIP/2.0 {answer}") as server:
        assert ask("sip", server.ports["sip"], {"transport": transport} | options, family) == verdict
