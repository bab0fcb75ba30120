"""The check of Redis against a master and a replica that follows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.asking import HASTY_S, TIMED_OUT, UP, ask
from tests.servers.authority import Authority
from tests.servers.databases import ANN, WRONG, Redis, becomes, lives, memcached
from tests.servers.tls import verified

OPEN = {"password": "open"}


@pytest.fixture(scope="module")
def master(authority: Authority) -> Iterator[Redis]:
    """Give out a master."""
    with Redis(authority.certificate()) as server:
        yield server


@pytest.fixture
def replica(authority: Authority, master: Redis) -> Iterator[Redis]:
    """Give out a replica of it."""
    with Redis(authority.certificate(), master) as server:
        yield server


def test_a_login_is_tried(master: Redis, family: int, tmp_path: Path) -> None:
    """The right password is taken with a user and without one, a wrong one is not, and one from a file is."""
    port = master.ports["main"]
    file = tmp_path / "password"
    file.write_text("open\n")
    assert ask("redis", port, OPEN, family) == UP
    assert ask("redis", port, ANN, family) == UP
    assert ask("redis", port, {"password_file": str(file)}, family) == UP
    assert ask("redis", port, {}, family) == "it answers: NOAUTH Authentication required."
    assert ask("redis", port, WRONG, family).startswith("it answers: WRONGPASS ")
    assert ask("redis", port, {"password": "wrong"}, family).startswith("it answers: WRONGPASS ")


def test_tls_is_verified(master: Redis, authority: Authority, family: int) -> None:
    """Certificate and name are held to what the check says; a port without TLS does not answer."""
    verified("redis", master.ports["tls"], OPEN, family, authority)
    assert ask("redis", master.ports["main"], OPEN | {"tls": {}}, family, HASTY_S) == TIMED_OUT


def test_a_promoted_replica_is_a_master(master: Redis, replica: Redis) -> None:
    """The role is what the server plays now."""
    first, second = master.ports["main"], replica.ports["main"]
    wants_master, wants_replica = OPEN | {"role": "master"}, OPEN | {"role": "replica"}
    assert ask("redis", first, wants_master) == UP
    assert ask("redis", first, wants_replica) == "it is a master, not a replica"
    becomes("redis", second, wants_replica)
    assert ask("redis", second, wants_master) == "it is a replica, not a master"
    replica.command("replicaof", "no", "one")
    assert ask("redis", second, wants_master) == UP
    assert ask("redis", second, wants_replica) == "it is a master, not a replica"


def test_a_replica_without_its_master_is_down(authority: Authority) -> None:
    """One that may not serve what is old says so, and is back with its master."""
    with Redis(authority.certificate()) as master, Redis(authority.certificate(), master) as replica:
        port, options = replica.ports["main"], OPEN | {"role": "replica"}
        becomes("redis", port, options)
        master.kill()
        stale = "it answers: MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
        becomes("redis", port, options, stale)
        master.start()
        becomes("redis", port, options)


def test_redis_lives(authority: Authority, family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with Redis(authority.certificate()) as server:
        lives(server, "redis", OPEN, family)
        lives(server, "redis", OPEN | {"tls": {}}, family, "tls")


def test_another_server_is_down(family: int) -> None:
    """What answers, but is no Redis, is down."""
    with memcached() as server:
        assert ask("redis", server.ports["main"], {}, family) == "it does not speak Redis but says 'ERROR'"
