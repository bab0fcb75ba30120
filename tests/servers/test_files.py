"""The checks of files, directories and news against vsftpd, slapd and leafnode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import files
from tests.servers.asking import UP, ask
from tests.servers.authority import Authority
from tests.servers.server import Server
from tests.servers.tls import verified

ANN = {"base": "dc=example,dc=org", "filter": "(cn=ann)", "scope": "sub"}
ANONYMOUS = {"user": "anonymous", "password": "checks@example.org"}


@pytest.fixture(scope="module", params=[4, 6], ids=["ipv4", "ipv6"])
def vsftpd(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Server]:
    """Give out a file server."""
    with files.vsftpd(authority.certificate(), request.param) as server:
        yield server


@pytest.fixture(scope="module")
def slapd(authority: Authority) -> Iterator[Server]:
    """Give out a directory."""
    with files.slapd(authority.certificate()) as server:
        yield server


@pytest.fixture(scope="module")
def leafnode() -> Iterator[Server]:
    """Give out a news server."""
    with files.leafnode() as server:
        yield server


@pytest.mark.parametrize("starttls", [False, True])
def test_ftp_greets_and_logs_in(vsftpd: Server, starttls: bool) -> None:
    """A greeting of several lines, and a login as anonymous; another user is refused."""
    port, family, options = vsftpd.ports["ftp"], vsftpd.families[0], {"starttls": starttls}
    assert ask("ftp", port, options, family) == UP
    assert ask("ftp", port, options | ANONYMOUS, family) == UP
    assert "it refuses the login: 5" in ask("ftp", port, options | {"user": "nobody", "password": "x"}, family)


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"file": "hello"}, UP),
        ({"file": "hello", "regex": "^hello from"}, UP),
        ({"file": "hello", "regex": "bye"}, "its file hello does not match 'bye'"),
        ({"file": "none"}, "RETR was answered with 550 Failed to open file."),
        ({"file": "large", "regex": "^0123456789abcde$"}, UP),
    ],
)
def test_a_file_is_fetched(vsftpd: Server, options: dict[str, Any], verdict: str) -> None:
    """A file is there and matches, the beginning of a large one too."""
    assert ask("ftp", vsftpd.ports["ftp"], ANONYMOUS | options, vsftpd.families[0]) == verdict


def test_ftp_within_tls_is_verified(vsftpd: Server, authority: Authority) -> None:
    """The certificate of AUTH TLS is looked at."""
    verified("ftp", vsftpd.ports["ftp"], {"starttls": True} | ANONYMOUS, vsftpd.families[0], authority)


@pytest.mark.parametrize("kind", ["ldap", "ldaps"])
@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, UP),
        (files.ADMIN, UP),
        (files.ADMIN | {"password": "wrong"}, "it refuses the login: 49 invalidCredentials"),
        ({"base": "dc=example,dc=org"}, UP),
        (ANN | files.ADMIN | {"expect": {"Mail": "^ann@", "sn": "Miller"}}, UP),
        (ANN | {"expect": {"mail": "^bob@"}}, "no entry that is found has mail '^bob@'"),
        (ANN | {"filter": "(cn=bob)"}, "the search finds nothing"),
        ({"base": "dc=example,dc=net"}, "the search was answered with 32 noSuchObject"),
        ({"expect": {"supportedLDAPVersion": "3"}}, UP),
    ],
)
def test_a_directory_is_asked(slapd: Server, kind: str, family: int, options: dict[str, Any], verdict: str) -> None:
    """Binds and searches, with what they find; without a base the root is looked at."""
    assert ask(kind, slapd.ports[kind], options, family) == verdict


@pytest.mark.parametrize(("kind", "options"), [("ldap", {"starttls": True}), ("ldaps", {})])
def test_a_directory_within_tls_is_verified(
    slapd: Server, authority: Authority, kind: str, options: dict[str, Any], family: int
) -> None:
    """The certificate is looked at, with StartTLS and from the first byte."""
    verified(kind, slapd.ports[kind], options, family, authority)


def test_a_directory_that_wants_a_login_is_down_without(authority: Authority) -> None:
    """An anonymous bind that is refused is a failure."""
    with files.slapd(authority.certificate(), "disallow bind_anon") as server:
        answer = ask("ldap", server.ports["ldap"])
        assert answer == "it refuses the login: 48 inappropriateAuthentication: anonymous bind disallowed"
        assert ask("ldap", server.ports["ldap"], dict(files.ADMIN)) == UP


def test_news_are_no_directory(leafnode: Server) -> None:
    """An answer of another protocol is a wrong one."""
    assert ask("ldap", leafnode.ports["nntp"]) == "its answer is no message of LDAP"


def test_tls_without_http2_is_down_for_it(slapd: Server) -> None:
    """A server that chooses no protocol by ALPN does not speak HTTP/2."""
    assert ask("https", slapd.ports["ldaps"], {"version": 2}) == "it does not speak HTTP/2"


def test_news_are_there(leafnode: Server, family: int) -> None:
    """A greeting is enough; a group must be there if one is named."""
    assert ask("nntp", leafnode.ports["nntp"], {}, family) == UP
    assert ask("nntp", leafnode.ports["nntp"], {"group": "local.test"}, family) == UP
    answer = ask("nntp", leafnode.ports["nntp"], {"group": "comp.none"}, family)
    assert answer.startswith("GROUP comp.none was answered with 411 ")


def test_news_without_tls_or_login_are_down_where_it_is_wanted(leafnode: Server) -> None:
    """A server that knows neither is down for a check that needs them."""
    assert "STARTTLS was answered with 5" in ask("nntp", leafnode.ports["nntp"], {"starttls": True})
    assert "it refuses the login: 5" in ask("nntp", leafnode.ports["nntp"], {"user": "ann", "password": "x"})
