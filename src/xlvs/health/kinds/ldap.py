"""ldap: a directory lets us bind, and a search finds what it should (RFC 4511 §4.2, §4.5).

As ``service = ldap`` of ldirectord; without a user the bind is anonymous.  With `starttls` all that is within TLS
(RFC 4511 §4.14).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Target
from xlvs.health.parts import net
from xlvs.health.parts.directory import Directory
from xlvs.health.parts.ldap import Session


class Ldap(Directory, frozen=True, kw_only=True, tag="ldap"):
    """A directory lets us bind, and a search finds what it should."""

    starttls: Annotated[bool, Meta(description="Go on within TLS before binding.")] = False

    async def probe(self, target: Target) -> Answer | None:
        """Bind, search and leave."""
        async with net.stream(target) as stream:
            session = Session(stream)
            if self.starttls:
                await session.start_tls(target, self.tls)
            await self.converse(session)
        return None


CHECK = Ldap
