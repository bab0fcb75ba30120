"""pop: a mailbox server greets us, and lets us log in (RFC 1939 §3).

As ``service = pop`` of ldirectord; with `starttls` the login is within TLS.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Target
from xlvs.health.parts import net, pop
from xlvs.health.parts.login import StartTlsLogin


class Pop(StartTlsLogin, frozen=True, kw_only=True, tag="pop"):
    """A mailbox server greets us, and lets us log in."""

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, and leave."""
        async with net.stream(target) as stream:
            await pop.greeting(stream)
            if self.starttls:
                await pop.start_tls(stream, target, self.tls)
            await pop.finish(stream, self)
        return None


CHECK = Pop
