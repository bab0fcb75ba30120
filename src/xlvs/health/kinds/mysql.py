"""mysql: MySQL or MariaDB lets us log in, answers, and can be written to or not.

As ``service = mysql`` of ldirectord and ``option mysql-check`` of HAProxy; `read_only` tells a replica from the server
that takes writes (@@global.read_only).  By asyncmy.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from xlvs.health.check import Answer, Failed, Target
from xlvs.health.parts import drivers
from xlvs.health.parts.database import Database

_ODD = (AssertionError, IndexError, RuntimeError, ValueError)
"""What asyncmy raises where a packet is not what it takes it for."""
_OFF = ("0", "OFF")
"""A number in all versions so far; MariaDB has turned other switches into words."""


class Mysql(Database, frozen=True, kw_only=True, tag="mysql"):
    """MySQL or MariaDB lets us log in."""

    database: Annotated[str, Meta(description="The database to use; empty: none.")] = ""
    read_only: Annotated[
        bool | None, Meta(description="Whether it must refuse writes, or take them; null: it does not matter.")
    ] = None

    def prepare(self) -> None:
        """See that the library is there; raises `Unable`."""
        super().prepare()
        drivers.library("asyncmy.connection", "mysql")

    async def probe(self, target: Target) -> Answer | None:
        """Log in, ask, and leave."""
        asyncmy = drivers.library("asyncmy.connection", "mysql")
        with drivers.failures(asyncmy.errors.MySQLError), drivers.failures(*_ODD, say=_odd):
            connection = asyncmy.Connection(
                host=target.address,
                port=target.port,
                user=self.user,
                password=self.secret().encode(),
                database=self.database or None,
                ssl=drivers.context(self.tls) if self.tls else None,
                connect_timeout=max(self.timeout_s, 1),
                autocommit=None,
                program_name="xlvs",
            )
            try:
                await connection.connect()
                await self._ask(connection)
                await connection.ensure_closed()
            finally:
                connection.close()
        return None

    async def _ask(self, connection: Any) -> None:
        if self.read_only is not None:
            row = await _first(connection, "select @@global.read_only")
            found = bool(row) and str(row[0]).upper() not in _OFF
            if found != self.read_only:
                raise Failed("it is read-only" if found else "it is not read-only")
        if self.query:
            self.judge(await _first(connection, self.query))


async def _first(connection: Any, query: str) -> Any:
    """Return the first row of the answer; None if there is none."""
    async with connection.cursor() as cursor:
        await cursor.execute(query)
        return await cursor.fetchone()


def _odd(err: Exception) -> str:
    return f"it does not speak MySQL: {drivers.sentence(err)}"


CHECK = Mysql
