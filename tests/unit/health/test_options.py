"""What checks can be told, and the one sentence that each mistake gets."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from xlvs.errors import InvalidError
from xlvs.health import Unable, get, names, parse, seconds

LOGINS = ["ftp", "imap", "imaps", "ldap", "ldaps", "nntp", "pop", "pops", "submission"]
LEAST: dict[str, dict[str, Any]] = {
    "http_proxy": {"url": "http://example.org/"},
    "radius": {"user": "ann", "shared_secret": "s"},
    "simpletcp": {"regex": "."},
}
"""What a kind cannot do without."""
RANGES = "is no status or range of them; write 200, 200-299, or 200-299,404"
UNFIT = "cannot be sent; a name is one word, a value one line"
OURS = ("tcp", "http", "https", "ping", "udp", "dns", "smtp", "sip", "none", *LOGINS, *LEAST)


@pytest.mark.parametrize("kind", OURS)
def test_a_check_reads_what_it_writes(kind: str) -> None:
    """A check with its least options is one, and says the same again."""
    check = parse({"type": kind} | LEAST.get(kind, {}))
    assert isinstance(check, get(kind))
    assert parse(check.plain()) == check
    assert check.plain() == {"type": kind} | LEAST.get(kind, {})


@pytest.mark.parametrize("kind", OURS)
def test_a_check_describes_its_options(kind: str) -> None:
    """Every option has a description, which is a sentence."""
    hints = {
        name: hint
        for base in reversed(get(kind).__mro__)
        for name, hint in vars(base).get("__annotations__", {}).items()
    }
    silent = [name for name in get(kind).__struct_fields__ if "description=" not in str(hints[name])]
    assert silent == []


def test_an_unknown_kind_is_told_its_neighbour() -> None:
    """A slip of the pen in the type is answered with the nearest name."""
    assert said({"type": "htpp"}) == "there is no health check 'htpp' (did you mean 'http'?)"
    assert said({}) == f"a health check lacks its type (one of {', '.join(names())})"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"type": "tcp", "prot": 1}, "the health check tcp has no 'prot' (did you mean 'port'?)"),
        ({"type": "tcp", "port": 70000}, "the health check tcp: Expected `int` <= 65535 - at `$.port`"),
        ({"type": "tcp", "timeout": 30}, "a timeout of 30 s is more than ten times the interval of 2 s"),
        ({"type": "udp", "payload": "1"}, "the payload '1' is not hexadecimal; write two digits per byte"),
        ({"type": "udp", "payload": "zz"}, "the payload 'zz' is not hexadecimal; write two digits per byte"),
        (
            {"type": "udp", "require_reply": "0Y"},
            "require_reply '0Y' is not hexadecimal; write two digits per byte, with X for any digit",
        ),
        (
            {"type": "udp", "require_reply": "00 00", "max_reply_length": 1},
            "a reply cannot have at most 1 bytes and at least 2",
        ),
        ({"type": "udp", "patience": "1s"}, "a patience of 1 s does not fit into the timeout of 1 s"),
        (
            {"type": "dns", "rcode": "NXDOMAIN", "answer": "192.0.2.1"},
            "with the response code NXDOMAIN there is no answer '192.0.2.1'",
        ),
        (
            {"type": "http", "status": "2xx"},
            f"'2xx' {RANGES}",
        ),
        (
            {"type": "http", "regex": "("},
            "'(' is no regular expression: missing ), unterminated subpattern",
        ),
        (
            {"type": "http", "headers": {"a b": "c"}},
            f"the header 'a b': 'c' {UNFIT}",
        ),
        (
            {"type": "http", "headers": {"a": "b\r\nc: d"}},
            f"the header 'a': 'b\\r\\nc: d' {UNFIT}",
        ),
        (
            {"type": "sip", "status": "ok"},
            f"'ok' {RANGES}",
        ),
        (
            {"type": "simpletcp", "regex": ""},
            "the regex of simpletcp is empty; the check tcp looks at the connection alone",
        ),
        ({"type": "simpletcp"}, "the health check simpletcp: Object missing required field `regex`"),
        (
            {"type": "radius", "shared_secret": "s"},
            "a check radius needs a user; with reject_ok it need not be a real one",
        ),
        (
            {"type": "radius", "user": "ann"},
            "a check radius needs a shared_secret or a shared_secret_file, and not both",
        ),
        (
            {"type": "submission", "starttls": True, "implicit_tls": True},
            "a check has starttls or implicit_tls, not both",
        ),
        (
            {"type": "ldap", "user": "cn=ann"},
            "a user without a password is not looked at by LDAP; give both, or neither",
        ),
    ],
)
def test_a_mistake_is_one_sentence(options: dict[str, Any], sentence: str) -> None:
    """Options that contradict each other, or cannot be read, are told apart from those that can."""
    assert said(options).removesuffix(" at position 0") == sentence


@pytest.mark.parametrize(
    "options", [{"path": "x"}, {"path": "/a b"}, {"path": "/\r\n"}, {"host": "a b"}, {"version": 3}]
)
def test_a_request_that_cannot_be_sent_is_refused(options: dict[str, Any]) -> None:
    """Blanks and ends of lines in what is sent would be another request."""
    assert said({"type": "http"} | options).startswith("the health check http: ")


@pytest.mark.parametrize("kind", [*LOGINS, "radius"])
def test_a_login_is_whole(kind: str) -> None:
    """A password has a user, there is one of it, and both are one line."""
    least = LEAST.get(kind, {})
    both = least | {"type": kind, "user": "ann", "password": "a", "password_file": "/b"}
    assert said(both) == "a check has a password or a password_file, not both"
    assert said(least | {"type": kind, "user": "", "password": "a"}) == "a password needs a user"
    lines = least | {"type": kind, "user": "ann", "password": "a\r\nQUIT"}
    assert said(lines) == "a user and a password are one line each"


@pytest.mark.parametrize("kind", [*LOGINS, "radius"])
def test_a_password_file_that_is_missing_is_told_early(kind: str, tmp_path: Path) -> None:
    """A file that cannot be read makes the check impossible, before any probe."""
    check = parse({"type": kind, "user": "ann", "password_file": str(tmp_path / "none")} | LEAST.get(kind, {}))
    with pytest.raises(Unable, match="the file of a secret cannot be read: .*none"):
        check.prepare()


@pytest.mark.parametrize("kind", ["https", "smtp", "submission", "imap", "imaps", "pop", "pops", "ftp", "nntp", "ldap"])
def test_a_missing_authority_is_told_early(kind: str, tmp_path: Path) -> None:
    """So is a file of TLS."""
    check = parse({"type": kind, "tls": {"ca": str(tmp_path / "none")}})
    with pytest.raises(Unable, match="the TLS files of a check cannot be used: .*; see its ca, certificate and key"):
        check.prepare()


@pytest.mark.parametrize(
    ("options", "module", "sentence"),
    [
        ({"type": "dns"}, "dns", "the check dns needs the package dnspython; install xlvs[dns]"),
        ({"type": "ldap"}, "ldap3", "the checks ldap and ldaps need the package ldap3; install xlvs[ldap]"),
        ({"type": "ldaps"}, "ldap3", "the checks ldap and ldaps need the package ldap3; install xlvs[ldap]"),
        (
            {"type": "radius"} | LEAST["radius"],
            "pyrad",
            "the check radius needs the package pyrad; install xlvs[radius]",
        ),
        (
            {"type": "https", "version": 2},
            "h2",
            "HTTP/2 needs the package h2; install xlvs[http2], or leave out version: 2",
        ),
    ],
)
def test_a_missing_library_names_its_extra(
    options: dict[str, Any], module: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check can be read without its library, and says what to install when it is to run."""
    from xlvs.health.parts import ldap

    check, real = parse(options), builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name.split(".")[0] == module:
            raise ImportError(name)
        return real(name, *arguments)

    ldap.library.cache_clear()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(Unable) as caught:
        check.prepare()
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"record": "NOSUCH"}, "the check dns cannot ask for NOSUCH of '.'"),
        ({"name": "a..b"}, "the check dns cannot ask for SOA of 'a..b'"),
        ({"record": "A", "answer": "none"}, "the check dns cannot ask for A of '.'"),
    ],
)
def test_a_question_that_cannot_be_asked_is_told_early(options: dict[str, Any], sentence: str) -> None:
    """Types, names and records are read when the configuration is."""
    with pytest.raises(Unable) as caught:
        parse({"type": "dns"} | options).prepare()
    assert str(caught.value).startswith(sentence)


def test_a_filter_that_cannot_be_read_is_told_early() -> None:
    """So is a filter of LDAP."""
    with pytest.raises(Unable, match=r"the filter '\(cn=' of a check cannot be used"):
        parse({"type": "ldap", "filter": "(cn="}).prepare()


@pytest.mark.parametrize(
    ("text", "value"), [("2", 2), (0.5, 0.5), ("500ms", 0.5), ("2s", 2), ("5m", 300), ("1h", 3600), ("1.5s", 1.5)]
)
def test_durations_have_units(text: str | float, value: float) -> None:
    """Seconds, or a number and its unit."""
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1d", "0", "25h"])
def test_other_durations_are_refused(text: str) -> None:
    """What is no duration, or is outside a day, is said to be."""
    with pytest.raises(InvalidError, match=r"is no duration; write one as 2s or 500ms|are outside 0\.\.86400"):
        seconds(text)


def said(options: dict[str, Any]) -> str:
    """Return the sentence with which options are refused."""
    with pytest.raises(InvalidError) as caught:
        parse(options)
    return str(caught.value)
