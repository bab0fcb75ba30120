"""The check of PostgreSQL against a primary and a replica that follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.asking import UP, ask
from tests.servers.authority import Authority
from tests.servers.databases import ANN, WRONG, Postgres, becomes, lives
from tests.servers.tls import verified
from xlvs.demo.wait import until

BY_POSTGRES = {"user": "postgres"}
ANN_AT = ANN | {"database": "postgres"}


@pytest.fixture(scope="module")
def primary(authority: Authority) -> Iterator[Postgres]:
    """Give out a primary."""
    with Postgres(authority.certificate()) as server:
        yield server


@pytest.fixture
def replica(authority: Authority, primary: Postgres) -> Iterator[Postgres]:
    """Give out a replica of it."""
    with Postgres(authority.certificate(), primary) as server:
        yield server


def test_a_login_is_tried(primary: Postgres, family: int, tmp_path: Path) -> None:
    """The right password is taken, a wrong one is not, and one from a file is."""
    port = primary.ports["main"]
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert ask("postgres", port, ANN_AT, family) == UP
    assert ask("postgres", port, {"user": "ann", "password_file": str(file), "database": "postgres"}, family) == UP
    wrong = ask("postgres", port, ANN_AT | WRONG, family)
    assert wrong == 'password authentication failed for user "ann"'
    assert ask("postgres", port, ANN, family) == 'database "ann" does not exist'


@pytest.mark.parametrize(
    ("query", "expect", "verdict"),
    [
        ("select 40 + 2", 42, UP),
        ("select 40 + 2", "42", UP),
        ("select true", "true", UP),
        ("select null", "null", UP),
        ("select 'a'", "b", "the query found 'a', not 'b'"),
        ("select 1 where false", 1, "the query found nothing, not '1'"),
        ("select 1 where false", None, UP),
        ("select * from nowhere", None, 'relation "nowhere" does not exist'),
    ],
)
def test_a_query_has_its_value(primary: Postgres, query: str, expect: str | int | None, verdict: str) -> None:
    """The first value is what it should be, an error of the query is a failure."""
    assert ask("postgres", primary.ports["main"], BY_POSTGRES | {"query": query, "expect": expect}) == verdict


def test_tls_is_verified(primary: Postgres, authority: Authority, family: int) -> None:
    """A user of TLS only gets in with it, and certificate and name are held to what the check says."""
    bob = ANN | {"user": "bob", "database": "postgres"}
    assert "pg_hba.conf rejects connection for host" in ask("postgres", primary.ports["main"], bob, family)
    assert ask("postgres", primary.ports["main"], bob | {"tls": {}}, family) == UP
    verified("postgres", primary.ports["main"], bob, family, authority)


def test_a_server_without_tls_is_down_for_a_check_with_it(primary: Postgres) -> None:
    """A refusal of TLS is a failure: nothing is sent in the clear."""
    primary.sql("alter system set ssl = off")
    try:
        primary.sql("select pg_reload_conf()")
        port = primary.ports["main"]
        refusal = f'ConnectionError: PostgreSQL server at "127.0.0.1:{port}" rejected SSL upgrade'
        becomes("postgres", port, ANN_AT | {"tls": {}}, refusal)
    finally:
        primary.sql("alter system reset ssl")
        primary.sql("select pg_reload_conf()")
    becomes("postgres", primary.ports["main"], ANN_AT | {"tls": {}})


def test_a_promoted_replica_is_a_primary(primary: Postgres, replica: Postgres) -> None:
    """The role is what the server plays now; the lag is looked at while it is a replica."""
    first, second = primary.ports["main"], replica.ports["main"]
    wants_primary, wants_replica = ANN_AT | {"role": "primary"}, ANN_AT | {"role": "replica"}
    assert ask("postgres", first, wants_primary) == UP
    assert ask("postgres", first, wants_replica) == "it is a primary, not a replica"
    assert ask("postgres", first, ANN_AT | {"lag": "1ms"}) == UP
    assert ask("postgres", second, wants_replica) == UP
    assert ask("postgres", second, wants_primary) == "it is a replica, not a primary"
    primary.sql("create table seen (number int); insert into seen values (1)")
    becomes(
        "postgres", second, wants_replica | {"lag": "1h", "query": "select number from seen", "expect": 1} | BY_POSTGRES
    )
    replica.sql("select pg_promote()")
    becomes("postgres", second, wants_primary)
    assert ask("postgres", second, wants_replica) == "it is a primary, not a replica"


def test_a_replica_that_lags_is_down(primary: Postgres, replica: Postgres) -> None:
    """One that does not replay what it receives lags, and is back when it has."""
    port, soon = replica.ports["main"], ANN_AT | {"role": "replica", "lag": "1ms"}
    primary.sql("create table if not exists late (number int)")
    becomes("postgres", port, soon)
    replica.sql("select pg_wal_replay_pause()")
    primary.sql("insert into late values (1)")
    becomes("postgres", port, ANN_AT | {"role": "replica", "lag": "1h"})

    def lags() -> bool:
        verdict = ask("postgres", port, soon)
        return verdict.startswith("it lags ") and verdict.endswith(" s behind, more than 1ms")

    until(lags, "the replica does not lag")
    replica.sql("select pg_wal_replay_resume()")
    becomes("postgres", port, soon)


def test_a_replica_without_its_primary_lags(authority: Authority) -> None:
    """One that has replayed all it got, but gets nothing any more, does not count as up to date."""
    with Postgres(authority.certificate()) as primary, Postgres(authority.certificate(), primary) as replica:
        port, soon = replica.ports["main"], ANN_AT | {"role": "replica", "lag": "1ms"}
        primary.sql("create table seen (number int)")
        becomes("postgres", port, soon)
        primary.kill()

        def lags() -> bool:
            return ask("postgres", port, soon).startswith("it lags ")

        until(lags, "the replica does not lag")


def test_postgres_lives(authority: Authority, family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with Postgres(authority.certificate()) as server:
        lives(server, "postgres", ANN_AT, family)
        lives(server, "postgres", ANN_AT | {"tls": {}}, family)
