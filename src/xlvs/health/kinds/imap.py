"""imap: a mailbox server greets us, and lets us log in (RFC 9051 §3).

As ``service = imap`` of ldirectord; with `starttls` the login is within TLS.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Target
from xlvs.health.parts import imap, net
from xlvs.health.parts.login import StartTlsLogin


class Imap(StartTlsLogin, frozen=True, kw_only=True, tag="imap"):
    """A mailbox server greets us, and lets us log in."""

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, and out."""
        async with net.stream(target) as stream:
            logged_in = await imap.greeting(stream)
            if self.starttls:
                await imap.start_tls(stream, target, self.tls)
            await imap.finish(stream, self, logged_in=logged_in)
        return None


CHECK = Imap
