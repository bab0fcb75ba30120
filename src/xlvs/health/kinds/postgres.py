"""postgres: PostgreSQL lets us log in, plays its role, and lags not too far behind.

As ``service = pgsql`` of ldirectord; `role` is that of Patroni's ``/primary`` and ``/replica``.  Roles are those of
pg_is_in_recovery(): a replica that is promoted is a primary with the next probe.  By asyncpg.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Duration, Failed, Target, seconds
from xlvs.health.parts import drivers, net
from xlvs.health.parts.database import Database

_SSL_REQUEST = struct.pack(">ii", 8, 80877103)
_SSL_ANSWERS = (b"S", b"N", b"E")
"""PostgreSQL manual, Message Flow, SSL Session Encryption: within TLS, without it, or an error of a server in need."""

# A replica that has replayed all it received lags only if it no longer receives: without a transaction on the
# primary the time of the last one grows old by itself.  The view has a row while a receiver runs, whoever looks.
_LAG = """\
select case
    when not pg_is_in_recovery() then 0
    when exists (select from pg_stat_wal_receiver) and pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
    else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
end::float8"""

_KNOWN: set[tuple[str, int]] = set()
"""Where the last answer was a good one of PostgreSQL."""


class Postgres(Database, frozen=True, kw_only=True, tag="postgres"):
    """PostgreSQL lets us log in."""

    database: Annotated[str, Meta(description="The database; empty: the one named like the user.")] = ""
    role: Annotated[Literal["any", "primary", "replica"], Meta(description="What it must be.")] = "any"
    lag: Annotated[Duration | None, Meta(description="A replica must not lag farther behind; null: it may.")] = None

    def validate(self) -> None:
        """See that the lag can be read, and is that of a replica; raises `InvalidError`."""
        super().validate()
        if self.lag is not None:
            seconds(self.lag)
            if self.role == "primary":
                raise InvalidError("a primary has no lag")

    def prepare(self) -> None:
        """See that the library is there; raises `Unable`."""
        super().prepare()
        drivers.library("asyncpg", "postgres")

    async def probe(self, target: Target) -> Answer | None:
        """Log in, ask, and leave."""
        asyncpg = drivers.library("asyncpg", "postgres")
        place = target.address, target.port
        if place not in _KNOWN:
            await _speaks_postgres(target)
        _KNOWN.discard(place)
        with drivers.failures(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            connection = await asyncpg.connect(
                host=target.address,
                port=target.port,
                user=self.user,
                password=self.secret(),
                database=self.database or self.user,
                ssl=drivers.context(self.tls, "postgresql") if self.tls else False,
                timeout=self.timeout_s,
                statement_cache_size=0,  # a pooler in front may change the server between two statements
                server_settings={"application_name": "xlvs"},
            )
            try:
                await self._ask(connection)
                await connection.close()
            finally:
                connection.terminate()
        _KNOWN.add(place)
        return None

    async def _ask(self, connection: Any) -> None:
        if self.role != "any":
            found = "replica" if await connection.fetchval("select pg_is_in_recovery()") else "primary"
            if found != self.role:
                raise Failed(f"it is a {found}, not a {self.role}")
        if self.lag is not None:
            lag = await connection.fetchval(_LAG)
            if lag is None:
                raise Failed("it does not know how far it lags behind")
            if lag > seconds(self.lag):
                raise Failed(f"it lags {lag:.1f} s behind, more than {self.lag}")
        if self.query:
            self.judge(await connection.fetchrow(self.query))


async def _speaks_postgres(target: Target) -> None:
    """See that the other end knows what an SSLRequest is; raises `Failed` or `OSError`.

    Messages without a length, as another protocol may have them, keep asyncpg 0.32 busy for ever, and with it all
    that runs on the loop.  A server with TLS notes in its log that a client left, so that only those are asked this
    way whose last answer was not good.
    """
    async with net.stream(target) as stream:
        stream.writer.write(_SSL_REQUEST)
        answer = await stream.exactly(1)
    if answer not in _SSL_ANSWERS:
        raise Failed(f"it does not speak PostgreSQL, but begins with {answer!r}")


CHECK = Postgres
