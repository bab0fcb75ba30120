"""ldaps: a directory lets us bind within TLS, and a search finds what it should (RFC 4511 §4.2, §4.5).

As ``service = ldaps`` of ldirectord.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Target
from xlvs.health.parts.directory import Directory
from xlvs.health.parts.ldap import Session


class Ldaps(Directory, frozen=True, kw_only=True, tag="ldaps"):
    """A directory lets us bind within TLS, and a search finds what it should."""

    async def probe(self, target: Target) -> Answer | None:
        """Bind, search and leave."""
        async with self.tls.stream(target) as stream:
            await self.converse(Session(stream))
        return None


CHECK = Ldaps
