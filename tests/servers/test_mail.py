"""The checks of mail against exim and dovecot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import mail
from tests.servers.asking import UP, ask
from tests.servers.authority import Authority
from tests.servers.server import Server
from tests.servers.tls import verified

SMTP = ["smtp", "submission"]
BOXES = ["imap", "imaps", "pop", "pops"]
WRONG = {"user": "ann", "password": "wrong"}


@pytest.fixture(scope="module")
def exim(authority: Authority) -> Iterator[Server]:
    """Give out a mail server."""
    with mail.exim(authority.certificate()) as server:
        yield server


@pytest.fixture(scope="module")
def dovecot(authority: Authority) -> Iterator[Server]:
    """Give out a server of mailboxes."""
    with mail.dovecot(authority.certificate()) as server:
        yield server


@pytest.mark.parametrize("kind", SMTP)
def test_mail_is_taken(exim: Server, kind: str, family: int) -> None:
    """A greeting, an answer to EHLO and one to QUIT are enough, with STARTTLS and without."""
    assert ask(kind, exim.ports["smtp"], {}, family) == UP
    assert ask(kind, exim.ports["smtp"], {"starttls": True, "helo_name": "checker.example.org"}, family) == UP


@pytest.mark.parametrize("options", [{}, {"starttls": True}], ids=str)
def test_submission_logs_in(exim: Server, options: dict[str, Any]) -> None:
    """The right password is taken, a wrong one is not."""
    assert ask("submission", exim.ports["smtp"], options | mail.USER) == UP
    assert "it refuses the login: 535" in ask("submission", exim.ports["smtp"], options | WRONG)


def test_submission_within_tls(exim: Server, authority: Authority) -> None:
    """TLS from the first byte, with a certificate that is verified."""
    port, tls = exim.ports["submissions"], {"verify": True, "ca": str(authority.ca)}
    assert ask("submission", port, {"implicit_tls": True, "tls": tls} | mail.USER) == UP
    assert "SSL" in ask("submission", exim.ports["smtp"], {"implicit_tls": True})


@pytest.mark.parametrize(
    ("authenticators", "verdict"),
    [(mail.LOGIN, UP), ("", "it offers no login by PLAIN or LOGIN")],
    ids=["login", "none"],
)
def test_submission_takes_what_is_offered(authority: Authority, authenticators: str, verdict: str) -> None:
    """LOGIN is used where PLAIN is not offered."""
    with mail.exim(authority.certificate(), authenticators=authenticators) as server:
        assert ask("submission", server.ports["smtp"], dict(mail.USER)) == verdict


@pytest.mark.parametrize("kind", SMTP)
def test_a_mail_server_that_refuses_is_down(authority: Authority, kind: str) -> None:
    """A greeting other than 220 is a failure."""
    with mail.exim(authority.certificate(), "deny message = go away") as server:
        assert ask(kind, server.ports["smtp"]) == "the connection was answered with 550 go away"


@pytest.mark.parametrize("kind", BOXES)
def test_mailboxes_are_there(dovecot: Server, kind: str, family: int) -> None:
    """A greeting and a farewell are enough."""
    assert ask(kind, dovecot.ports[kind], {}, family) == UP


@pytest.mark.parametrize("kind", BOXES)
def test_a_login_is_tried(dovecot: Server, kind: str, tmp_path: Path) -> None:
    """The right password is taken, a wrong one is not, and one from a file is."""
    file = tmp_path / "password"
    file.write_text(mail.USER["password"] + "\n")
    assert ask(kind, dovecot.ports[kind], dict(mail.USER)) == UP
    assert ask(kind, dovecot.ports[kind], {"user": mail.USER["user"], "password_file": str(file)}) == UP
    assert ask(kind, dovecot.ports[kind], WRONG).startswith("it refuses the login: ")


@pytest.mark.parametrize("kind", [*SMTP, "imap", "pop"])
def test_starttls_is_verified(exim: Server, dovecot: Server, authority: Authority, kind: str, family: int) -> None:
    """A certificate by our authority for the address or the name is good; another authority or name is not."""
    port = exim.ports["smtp"] if kind in SMTP else dovecot.ports[kind]
    verified(kind, port, {"starttls": True}, family, authority)


@pytest.mark.parametrize("kind", ["imaps", "pops"])
def test_tls_is_verified(dovecot: Server, authority: Authority, kind: str, family: int) -> None:
    """The same within TLS from the first byte."""
    verified(kind, dovecot.ports[kind], {}, family, authority)


@pytest.mark.parametrize("kind", ["imaps", "pops"])
def test_a_plain_server_is_down_for_a_check_with_tls(dovecot: Server, kind: str) -> None:
    """TLS with a port that speaks none fails."""
    assert "SSL" in ask(kind, dovecot.ports[kind.removesuffix("s")])


@pytest.mark.parametrize("kind", ["imap", "pop"])
def test_another_protocol_is_down(exim: Server, kind: str) -> None:
    """A greeting of another protocol is a wrong one."""
    assert "its greeting is '220 mail.example.org" in ask(kind, exim.ports["smtp"])
