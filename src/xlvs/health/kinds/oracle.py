"""oracle: Oracle Database lets us log in and answers a query.

As ``service = oracle`` of ldirectord, whose query is ``select 1 from dual`` too.  By oracledb in its thin mode, which
needs no client of Oracle.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Annotated, Any

from msgspec import Meta
from msgspec.structs import replace

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Failed, Target
from xlvs.health.parts import drivers, net
from xlvs.health.parts.database import Database

_LONGEST = 200
_DATA = b"(CONNECT_DATA=(COMMAND=ping))"
_PING = (
    struct.pack(">HHBBH", 58 + len(_DATA), 0, 1, 0, 0)
    + struct.pack(">10H", 310, 300, 0, 2048, 32767, 0x7F08, 0, 1, len(_DATA), 58).ljust(50, b"\0")
    + _DATA
)
"""A TNS CONNECT of version 310, with its data at byte 58."""
_ANSWERS = (2, 4, 5, 11)
"""ACCEPT, REFUSE, REDIRECT, RESEND."""
_KNOWN: set[tuple[str, int]] = set()
"""Where the last answer was a good one of Oracle."""


class Oracle(Database, frozen=True, kw_only=True, tag="oracle"):
    """Oracle Database lets us log in and answers a query."""

    service: Annotated[str, Meta(description="The service's name.")] = ""
    sid: Annotated[str, Meta(description="The instance's SID, for databases without services.")] = ""
    query: Annotated[str, Meta(description="What is asked after the login.")] = "select 1 from dual"

    def validate(self) -> None:
        """See that it is known what to log in to; raises `InvalidError`."""
        super().validate()
        if bool(self.service) == bool(self.sid):
            raise InvalidError("a check of oracle wants a service or a sid, and not both")
        if not self.query:
            raise InvalidError("the query of oracle is empty")

    def prepare(self) -> None:
        """See that the library is there; raises `Unable`."""
        super().prepare()
        drivers.library("oracledb", "oracle")

    async def probe(self, target: Target) -> Answer | None:
        """Log in, ask, and leave."""
        oracledb = drivers.library("oracledb", "oracle")
        place = target.address, target.port
        if place not in _KNOWN:
            await self._speaks_oracle(target)
        _KNOWN.discard(place)
        with drivers.failures(oracledb.Error, say=_reason):
            async with oracledb.connect_async(**self._where(target)) as connection:
                with connection.cursor() as cursor:
                    await cursor.execute(self.query)
                    self.judge(await cursor.fetchone())
        _KNOWN.add(place)
        return None

    async def _speaks_oracle(self, target: Target) -> None:
        """See that the other end answers with packets of TNS, as to tnsping; raises `Failed` or `OSError`.

        Packets without a length, as another protocol may have them, keep oracledb 26.1 busy for ever, and with it all
        that runs on the loop.  The listener notes a ping in its log, so that only those are asked this way whose last
        answer was not good.  Who hangs up is left to the library.
        """
        async with self.tls.stream(target) if self.tls else net.stream(target) as stream:
            stream.writer.write(_PING)
            head = b""
            with contextlib.suppress(ConnectionResetError):
                head = await stream.reader.read(8)
        if head and (len(head) < 5 or int.from_bytes(head[:2]) < 8 or head[4] not in _ANSWERS):
            raise Failed(f"it does not speak Oracle, but begins with {head!r}")

    def _where(self, target: Target) -> dict[str, Any]:
        found: dict[str, Any] = {
            "host": target.address,
            "port": target.port,
            "service_name": self.service or None,
            "sid": self.sid or None,
            "user": self.user,
            "password": self.secret(),
            "tcp_connect_timeout": self.timeout_s,
            "disable_oob": True,  # an urgent byte is lost on the way through many firewalls
            "program": "xlvs",
        }
        if self.tls:
            # The context looks at the name, which the library does not tell it.
            tls = replace(self.tls, sni=self.tls.sni or target.address)
            found |= {"protocol": "tcps", "ssl_context": drivers.context(tls), "ssl_server_dn_match": False}
        return found


def _reason(err: Exception) -> str:
    """Return what the library says at last: above it is that there is an error, below it where to read about it."""
    lines = [line for line in str(err).splitlines() if line.startswith(("DPY-", "ORA-"))]
    return lines[-1][:_LONGEST] if lines else drivers.sentence(err)


CHECK = Oracle
