"""The check of MySQL against MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.asking import UP, ask
from tests.servers.authority import Authority
from tests.servers.databases import ANN, WRONG, MariaDb, lives
from tests.servers.tls import verified

BOB = ANN | {"user": "bob"}


@pytest.fixture(scope="module")
def mariadb(authority: Authority) -> Iterator[MariaDb]:
    """Give out a database."""
    with MariaDb(authority.certificate()) as server:
        yield server


def test_a_login_is_tried(mariadb: MariaDb, family: int, tmp_path: Path) -> None:
    """The right password is taken, a wrong one is not, and one from a file is."""
    port = mariadb.ports["main"]
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert ask("mysql", port, ANN, family) == UP
    assert ask("mysql", port, {"user": "ann", "password_file": str(file), "database": "shop"}, family) == UP
    assert ask("mysql", port, WRONG, family).startswith("Access denied for user 'ann'@")
    assert ask("mysql", port, ANN | {"database": "nowhere"}, family).startswith("Access denied for user 'ann'@")


def test_a_password_of_any_letters(mariadb: MariaDb) -> None:
    """A password is sent as UTF-8."""
    mariadb.sql("create or replace user eve identified by 'pässwört €'")
    assert ask("mysql", mariadb.ports["main"], {"user": "eve", "password": "pässwört €"}) == UP


@pytest.mark.parametrize(
    ("query", "expect", "verdict"),
    [
        ("select 40 + 2", 42, UP),
        ("select null", "null", UP),
        ("select 'a%b'", "a%b", UP),
        ("select 'a'", "b", "the query found 'a', not 'b'"),
        ("select 1 from dual where false", 1, "the query found nothing, not '1'"),
        ("select * from shop.nothing", None, "Table 'shop.nothing' doesn't exist"),
    ],
)
def test_a_query_has_its_value(mariadb: MariaDb, query: str, expect: str | int | None, verdict: str) -> None:
    """The first value is what it should be, an error of the query is a failure."""
    assert ask("mysql", mariadb.ports["main"], ANN | {"query": query, "expect": expect}) == verdict


def test_it_may_have_to_be_read_only(mariadb: MariaDb) -> None:
    """What takes writes is no replica, what refuses them no primary; the answer changes with the server."""
    port = mariadb.ports["main"]
    assert ask("mysql", port, ANN | {"read_only": False}) == UP
    assert ask("mysql", port, ANN | {"read_only": True}) == "it is not read-only"
    mariadb.sql("set global read_only = 1")
    try:
        assert ask("mysql", port, ANN | {"read_only": True}) == UP
        assert ask("mysql", port, ANN | {"read_only": False}) == "it is read-only"
        assert ask("mysql", port, ANN) == UP
    finally:
        mariadb.sql("set global read_only = 0")


def test_tls_is_verified(mariadb: MariaDb, authority: Authority, family: int) -> None:
    """A user of TLS only gets in with it, and certificate and name are held to what the check says."""
    port = mariadb.ports["main"]
    assert ask("mysql", port, BOB, family).startswith("Access denied for user 'bob'@")
    assert ask("mysql", port, BOB | {"tls": {}}, family) == UP
    verified("mysql", port, BOB, family, authority)


def test_mariadb_lives(authority: Authority, family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with MariaDb(authority.certificate()) as server:
        lives(server, "mysql", ANN, family)
        lives(server, "mysql", ANN | {"tls": {}}, family)
