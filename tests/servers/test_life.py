"""Each check sees its server up, hanging, up again, dead, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from tests.servers import files, mail, names, signalling, web
from tests.servers.asking import HASTY_S, PATIENT_S, TIMED_OUT, UP, ask
from tests.servers.authority import Authority
from tests.servers.server import Server


class Life(NamedTuple):
    """A check, who it asks, and what it says when that one hangs, and when it is dead."""

    make: Callable[[Authority, int], Server]
    port: str
    options: dict[str, Any]
    hangs: str = TIMED_OUT
    dead: str = "ConnectionRefusedError"


def exim(authority: Authority, _family: int) -> Server:
    """Return a mail server."""
    return mail.exim(authority.certificate())


def dovecot(authority: Authority, _family: int) -> Server:
    """Return a server of mailboxes."""
    return mail.dovecot(authority.certificate())


def slapd(authority: Authority, _family: int) -> Server:
    """Return a directory."""
    return files.slapd(authority.certificate())


LIVES = {
    "dns": Life(lambda _ca, _family: names.nsd(), "dns", {"name": "www.example.org", "record": "A"}),
    "udp": Life(lambda _ca, _family: names.nsd(), "dns", {"payload": "00", "patience": "100ms"}, hangs=UP),
    "http": Life(lambda ca, _family: web.nginx(ca), "http", {}),
    "https": Life(lambda ca, _family: web.apache(ca.certificate()), "https", {"path": "/index"}),
    "tcp": Life(lambda ca, _family: web.nginx(ca), "http", {}, hangs=UP),
    "simpletcp": Life(exim, "smtp", {"regex": "^220 "}),
    "http_proxy": Life(
        lambda _ca, _family: web.tinyproxy(), "proxy", {"url": "http://127.0.0.1:1/", "status": "500-599"}
    ),
    "radius": Life(
        lambda _ca, _family: signalling.radius(),
        "radius",
        {"user": "ann", "password": "secret", "shared_secret": "testing"},
    ),
    "sip": Life(lambda _ca, family: signalling.sip("udp", family), "sip", {}),
    "smtp": Life(exim, "smtp", {}),
    "submission": Life(exim, "smtp", {"starttls": True, **mail.USER}),
    "imap": Life(dovecot, "imap", dict(mail.USER)),
    "imaps": Life(dovecot, "imaps", dict(mail.USER)),
    "pop": Life(dovecot, "pop", dict(mail.USER)),
    "pops": Life(dovecot, "pops", dict(mail.USER)),
    "ldap": Life(slapd, "ldap", dict(files.ADMIN)),
    "ldaps": Life(slapd, "ldaps", dict(files.ADMIN)),
    "nntp": Life(lambda _ca, _family: files.leafnode(), "nntp", {}),
    "ftp": Life(lambda ca, family: files.vsftpd(ca.certificate(), family), "ftp", {}),
}


@pytest.mark.parametrize("kind", LIVES)
def test_a_server_lives_hangs_dies_and_returns(kind: str, family: int, authority: Authority) -> None:
    """A server is up, in time or not at all while it is stopped, refuses when it is dead, and is up again."""
    life = LIVES[kind]
    with life.make(authority, family) as server:
        port = server.ports[life.port]
        assert ask(kind, port, life.options, family) == UP
        server.pause()
        patience = HASTY_S if life.hangs == TIMED_OUT else PATIENT_S
        assert ask(kind, port, life.options, family, patience) == life.hangs
        server.resume()
        assert ask(kind, port, life.options, family) == UP
        server.kill()
        assert life.dead in ask(kind, port, life.options, family)
        server.start()
        assert ask(kind, port, life.options, family) == UP
