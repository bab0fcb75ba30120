"""Checks that are written wrongly are refused in one sentence that says the way out."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from xlvs.errors import InvalidError
from xlvs.health import Unable, get, parse

ANN = {"user": "ann", "password": "secret"}

INVALID = [
    ("script", {}, "Object missing required field `command`"),
    ("script", {"command": ""}, "the command of script is empty"),
    ("script", {"command": "sh -c 'a"}, 'the command "sh -c \'a" cannot be split into words: No closing quotation'),
    ("script", {"command": "true", "arguments": "ldirectord"}, "arguments: ldirectord needs a virtual_address"),
    ("script", {"command": "true", "dinamic": True}, "has no 'dinamic' (did you mean 'dynamic'?)"),
    ("file", {"path": "state"}, "the path 'state' of a file does not begin with /"),
    ("file", {"path": "/a", "missing": "maybe"}, "Invalid enum value 'maybe' - at `$.missing`"),
    ("postgres", {}, "a database wants a user"),
    ("postgres", ANN | {"password_file": "/a"}, "a check has a password or a password_file, not both"),
    ("postgres", ANN | {"expect": 1}, "an expect needs a query"),
    ("postgres", ANN | {"role": "master"}, "Invalid enum value 'master' - at `$.role`"),
    ("postgres", ANN | {"role": "primary", "lag": 1}, "a primary has no lag"),
    ("postgres", ANN | {"lag": "soon"}, "Expected `str` matching regex"),
    ("mysql", {"password": "secret"}, "a password needs a user"),
    ("mysql", ANN | {"read_only": "yes"}, "Expected `bool | null`, got `str` - at `$.read_only`"),
    ("redis", {"user": "ann"}, "a user of redis needs a password or a password_file"),
    ("redis", {"role": "slave"}, "Invalid enum value 'slave' - at `$.role`"),
    ("grpc", {"service": "a" * 101}, "Expected `str` of length <= 100 - at `$.service`"),
    ("haproxy", {"monitor_uri": "alive"}, "Expected `str` matching regex '^(/[!-~]*)?$' - at `$.monitor_uri`"),
    ("haproxy", {"monitor_uri": "/alive", "send": "x"}, "a monitor_uri, or something to send to an agent, not both"),
    ("bfd", {"socket": "bfdd.vty"}, "the socket 'bfdd.vty' of bfdd does not begin with /"),
    ("mongodb", {"user": "ann"}, "a user of MongoDB needs a password or a password_file"),
    ("mongodb", {"tls": {"sni": "a"}}, "the client of MongoDB takes no sni, expires or key; put the key into the"),
    ("oracle", ANN, "a check of oracle wants a service or a sid, and not both"),
    ("oracle", ANN | {"service": "a", "sid": "b"}, "a check of oracle wants a service or a sid, and not both"),
    ("oracle", ANN | {"service": "a", "query": ""}, "the query of oracle is empty"),
    ("memcached", {"password": "secret"}, "the health check memcached has no 'password'"),
]

UNABLE = [
    (
        "script",
        {"command": "/nowhere/program"},
        "the program /nowhere/program of a check does not exist; see its command",
    ),
    ("script", {"command": "no-such-program-here a"}, "the program no-such-program-here of a check does not exist"),
    ("script", {"command": "/etc/passwd"}, "the program /etc/passwd of a check cannot be executed; see its command"),
    ("script", {"command": "true", "user": "no-such-user"}, "there is no user 'no-such-user' on this machine"),
    ("file", {"path": "/nowhere/file"}, "there is no file /nowhere/file; write an integer into it, or say missing: up"),
    ("file", {"path": "/"}, "/ is no regular file; see the path of a check"),
    ("redis", {"password_file": "/nowhere/file"}, "the file of a secret cannot be read: "),
    ("postgres", ANN | {"tls": {"ca": "/nowhere/ca"}}, "the TLS files of a check cannot be used: "),
    ("mysql", ANN | {"tls": {"certificate": "/nowhere/pem"}}, "the TLS files of a check cannot be used: "),
]

LIBRARIES = [
    ("postgres", ANN, "asyncpg", "postgres"),
    ("mysql", ANN, "asyncmy", "mysql"),
    ("grpc", {}, "h2", "grpc"),
    ("mongodb", {}, "pymongo", "mongodb"),
    ("oracle", ANN | {"service": "shop"}, "oracledb", "oracle"),
]


@pytest.mark.parametrize(("kind", "options", "sentence"), INVALID)
def test_options_that_make_no_sense(kind: str, options: dict[str, Any], sentence: str) -> None:
    """They are refused when the file is read."""
    with pytest.raises(InvalidError) as raised:
        parse({"type": kind, **options})
    assert sentence in str(raised.value)


@pytest.mark.parametrize(("kind", "options", "sentence"), UNABLE)
def test_what_this_machine_lacks(kind: str, options: dict[str, Any], sentence: str) -> None:
    """It is told before the first probe."""
    with pytest.raises(Unable) as raised:
        parse({"type": kind, **options}).prepare()
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(("kind", "options", "package", "extra"), LIBRARIES)
def test_a_missing_library(
    monkeypatch: pytest.MonkeyPatch, kind: str, options: dict[str, Any], package: str, extra: str
) -> None:
    """The sentence names the package, and the extra that brings it."""
    real = importlib.import_module

    def without(name: str, package_: str | None = None) -> Any:
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return real(name, package_)

    check = parse({"type": kind, **options})
    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(Unable) as raised:
        check.prepare()
    assert str(raised.value) == f"the check {kind} needs the package {package}; install xlvs[{extra}]"


@pytest.mark.parametrize("kind", sorted({row[0] for row in INVALID + UNABLE}))
def test_options_are_described(kind: str) -> None:
    """Every option that is a kind's own says what it is for."""
    import msgspec

    schema = msgspec.json.schema(get(kind))
    properties = next(found for name, found in schema["$defs"].items() if name == get(kind).__name__)["properties"]
    assert [
        name
        for name, found in properties.items()
        if name not in ("type", "address", "port") and not found.get("description")
    ] == []


def test_a_file_may_be_missing(tmp_path: Path) -> None:
    """With missing: up a check of it can be made."""
    parse({"type": "file", "path": str(tmp_path / "file"), "missing": "up"}).prepare()
