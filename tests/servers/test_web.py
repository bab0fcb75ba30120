"""The checks of the web, and tcp and simpletcp, against nginx, Apache and tinyproxy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers import web
from tests.servers.asking import HASTY_S, TIMED_OUT, UP, ask
from tests.servers.authority import NAME, Authority
from tests.servers.server import LOOPBACK, Server
from tests.servers.tls import verified

HELLO = b"hello\n"


@pytest.fixture(scope="module")
def nginx(authority: Authority) -> Iterator[Server]:
    """Give out a web server."""
    with web.nginx(authority) as server:
        yield server


@pytest.fixture(scope="module")
def apache(authority: Authority) -> Iterator[Server]:
    """Give out another."""
    with web.apache(authority.certificate()) as server:
        yield server


@pytest.fixture(scope="module")
def tinyproxy() -> Iterator[Server]:
    """Give out a proxy."""
    with web.tinyproxy() as server:
        yield server


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({}, UP),
        ({"path": "/missing"}, "status 404, not 200-299"),
        ({"path": "/missing", "status": 404}, UP),
        ({"path": "/moved", "status": "200-299,302"}, UP),
        ({"path": "/broken"}, "the server hung up without an answer"),
        ({"regex": "^hell"}, UP),
        ({"regex": "heaven"}, "its body does not match 'heaven'"),
        ({"regex_not": "hell"}, "its body matches 'hell'"),
        ({"digest": hashlib.md5(HELLO).hexdigest()}, UP),
        ({"digest": hashlib.sha256(HELLO).hexdigest()}, UP),
        ({"digest": "0" * 32}, f"its body has the digest {hashlib.md5(HELLO).hexdigest()}"),
        ({"expect": {"X-Kind": "^nginx$"}}, UP),
        ({"expect": {"x-kind": "apache"}}, "its header x-kind is 'nginx', not 'apache'"),
        ({"expect": {"Location": "."}}, "it has no header Location"),
        ({"method": "HEAD", "regex_not": "hello"}, UP),
        ({"path": "/echo?a=1", "regex": r"^GET (127.0.0.1|\[::1\]):[0-9]+  xlvs \?a=1$"}, UP),
        ({"path": "/echo", "host": NAME, "headers": {"X-Test": "yes"}, "regex": f"^GET {NAME} yes xlvs"}, UP),
        ({"path": "/echo", "headers": {"Host": "a", "User-Agent": "b"}, "regex": "^GET a  b"}, UP),
        ({"path": "/large", "digest": hashlib.sha256(web.LARGE).hexdigest()}, UP),
    ],
)
def test_an_answer_is_judged(nginx: Server, family: int, options: dict[str, Any], verdict: str) -> None:
    """Status, headers and body are looked at, and what we ask is what we say."""
    assert ask("http", nginx.ports["http"], options, family) == verdict


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"path": "/index", "regex": "It works"}, UP),
        ({"path": "/none"}, "status 404, not 200-299"),
        ({"path": "/private"}, "status 401, not 200-299"),
        ({"path": "/private", "headers": {"Authorization": "Basic YW5uOnNlY3JldA=="}, "regex": "for ann"}, UP),
        ({"path": "/index", "method": "POST", "body": "a=1", "regex": "It works"}, UP),
    ],
)
@pytest.mark.parametrize("kind", ["http", "https"])
def test_apache_is_asked(apache: Server, kind: str, family: int, options: dict[str, Any], verdict: str) -> None:
    """The same of another server, with a login, and a body."""
    assert ask(kind, apache.ports[kind], options, family) == verdict


def test_http2_without_tls_is_known_before(nginx: Server, family: int) -> None:
    """A server of HTTP/2 by prior knowledge is asked so, and is down for HTTP/1.1."""
    options = {"host": NAME, "regex": f"^HTTP/2.0 {NAME}$"}
    assert ask("http", nginx.ports["h2c"], options | {"version": 2}, family) == UP
    assert ask("http", nginx.ports["h2c"], options, family).startswith("it does not speak HTTP: ")


def test_http2_of_a_server_that_has_none_is_down(nginx: Server, apache: Server) -> None:
    """A server of HTTP/1.1 does not understand HTTP/2."""
    assert ask("http", nginx.ports["http"], {"version": 2}) == "the server hung up without an answer"
    assert "SSL" in ask("https", apache.ports["https"], {"version": 2})
    assert "no application protocol" in ask("https", nginx.ports["expired"], {"version": 2})


@pytest.mark.parametrize("version", [1, 2])
def test_tls_chooses_the_host_and_the_protocol(nginx: Server, family: int, version: int) -> None:
    """SNI chooses the virtual server and ALPN the protocol; large bodies come whole."""
    port, text = nginx.ports["https"], f"^HTTP/{'1.1' if version == 1 else '2.0'} of "
    ask_https = {"version": version, "host": NAME}
    assert ask("https", port, ask_https | {"tls": {"sni": NAME}, "regex": text + NAME}, family) == UP
    assert ask("https", port, ask_https | {"regex": text + NAME}, family) == UP
    assert ask("https", port, {"version": version, "regex": text + "the default server"}, family) == UP
    large = {"version": version, "path": "/large", "digest": hashlib.sha256(web.LARGE).hexdigest()}
    assert ask("https", port, large, family) == UP


def test_tls_is_verified(nginx: Server, apache: Server, authority: Authority, family: int) -> None:
    """Authority, name and end of the certificate are looked at, for the host that SNI chooses."""
    verified("https", apache.ports["https"], {"path": "/index"}, family, authority)
    trusted = {"verify": True, "ca": str(authority.ca)}
    assert ask("https", nginx.ports["https"], {"tls": trusted}, family) == UP
    assert ask("https", nginx.ports["https"], {"tls": trusted | {"sni": NAME}}, family) == UP
    assert "Hostname mismatch" in ask("https", nginx.ports["https"], {"host": NAME + ".net", "tls": trusted}, family)


def test_a_certificate_that_has_ended_is_seen(nginx: Server, authority: Authority) -> None:
    """It fails where it is verified, and where its end is looked at."""
    port, status = nginx.ports["expired"], {"status": "100-599"}
    assert ask("https", port, status) == UP
    late = ask("https", port, status | {"tls": {"expires": 1}})
    assert late == "its certificate ended 3 days ago, and must be good for 1"
    answer = ask("https", port, status | {"tls": {"verify": True, "ca": str(authority.ca)}})
    assert "certificate has expired" in answer


def test_we_show_a_certificate(nginx: Server, authority: Authority) -> None:
    """A server that asks who we are gets our certificate, and refuses us without."""
    port = nginx.ports["mutual"]
    mine = authority.certificate(names=("checker",))
    assert ask("https", port) == "status 400, not 200-299"
    assert ask("https", port, {"tls": {"certificate": str(mine)}, "regex": "CN=checker"}) == UP


def test_plain_and_tls_are_no_match(nginx: Server) -> None:
    """A check with TLS fails at a plain port, and one without at a port with TLS."""
    assert "SSL" in ask("https", nginx.ports["http"])
    assert ask("http", nginx.ports["https"]) == "status 400, not 200-299"


def test_a_proxy_fetches(nginx: Server, tinyproxy: Server, family: int) -> None:
    """The proxy fetches a URL; that one's status and body are looked at."""
    web_server = f"http://127.0.0.1:{nginx.ports['http']}"
    port = tinyproxy.ports["proxy"]
    assert ask("http_proxy", port, {"url": web_server + "/", "regex": "^hello$"}, family) == UP
    assert ask("http_proxy", port, {"url": web_server + "/missing"}, family) == "status 404, not 200-299"


def test_a_proxy_that_reaches_nobody_is_down(tinyproxy: Server, apache: Server) -> None:
    """A proxy that cannot fetch the URL is down, unless its answer is said to be good."""
    nowhere = {"url": f"http://127.0.0.1:{tinyproxy.ports['proxy'] + 1}/"}
    assert ask("http_proxy", tinyproxy.ports["proxy"], nowhere) == "status 500, not 200-299"
    assert ask("http_proxy", tinyproxy.ports["proxy"], nowhere | {"status": "200-599"}) == UP


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"send": "HEAD / HTTP/1.0\r\n\r\n", "regex": "^X-Kind: nginx"}, UP),
        ({"send": "HEAD / HTTP/1.0\r\n\r\n", "regex": "Apache"}, "its answer 'HTTP/1.1 200 OK"),
        ({"send": "GET /broken HTTP/1.0\r\n\r\n", "regex": "."}, "the server hung up without an answer"),
    ],
)
def test_a_text_is_answered(nginx: Server, family: int, options: dict[str, Any], verdict: str) -> None:
    """What comes back for a text matches, or does not."""
    assert ask("simpletcp", nginx.ports["http"], options, family).startswith(verdict)


def test_a_server_that_waits_for_a_text_is_down_without(nginx: Server) -> None:
    """An answer that does not come is waited for until the timeout."""
    assert ask("simpletcp", nginx.ports["http"], {"regex": "."}, timeout=HASTY_S) == TIMED_OUT


def test_a_connection_is_enough_for_tcp(nginx: Server, family: int) -> None:
    """A port that accepts connections is up, whatever speaks there, and one that does not is down."""
    assert ask("tcp", nginx.ports["https"], {}, family) == UP
    assert "ConnectionRefusedError" in ask("tcp", 1, {}, family)


def test_nothing_is_asked_by_none(family: int) -> None:
    """A check that asks nothing is always content."""
    assert ask("none", 1, {}, family) == UP


def test_another_place_may_be_asked(nginx: Server, family: int) -> None:
    """IPv6 addresses are written with brackets in Host."""
    wanted = f"^GET {'[::1]' if family == 6 else LOOPBACK[4]}:".replace("[", r"\[").replace("]", r"\]")
    assert ask("http", nginx.ports["http"], {"path": "/echo", "regex": wanted}, family) == UP
