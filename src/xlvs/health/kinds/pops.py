"""pops: a mailbox server greets us within TLS, and lets us log in (RFC 8314 §3.1).

As ``service = pops`` of ldirectord.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Target
from xlvs.health.parts import pop
from xlvs.health.parts.login import TlsLogin


class Pops(TlsLogin, frozen=True, kw_only=True, tag="pops"):
    """A mailbox server greets us within TLS, and lets us log in."""

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, and leave."""
        async with self.tls.stream(target) as stream:
            await pop.greeting(stream)
            await pop.finish(stream, self)
        return None


CHECK = Pops
