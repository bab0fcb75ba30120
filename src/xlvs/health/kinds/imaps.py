"""imaps: a mailbox server greets us within TLS, and lets us log in (RFC 8314 §3.2).

As ``service = imaps`` of ldirectord.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Target
from xlvs.health.parts import imap
from xlvs.health.parts.login import TlsLogin


class Imaps(TlsLogin, frozen=True, kw_only=True, tag="imaps"):
    """A mailbox server greets us within TLS, and lets us log in."""

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, and out."""
        async with self.tls.stream(target) as stream:
            await imap.finish(stream, self, logged_in=await imap.greeting(stream))
        return None


CHECK = Imaps
