"""The check of memcached."""

from __future__ import annotations

from tests.servers.asking import ask
from tests.servers.authority import Authority
from tests.servers.databases import Redis, lives, memcached


def test_memcached_lives(family: int) -> None:
    """It is up, hangs, is up again, dies, and is back."""
    with memcached() as server:
        lives(server, "memcached", {}, family)


def test_another_server_is_down(authority: Authority) -> None:
    """What answers, but is no memcached, is down."""
    with Redis(authority.certificate()) as server:
        verdict = ask("memcached", server.ports["main"])
        assert verdict.startswith('it answers "-ERR unknown command')
        assert verdict.endswith(", not its version")
