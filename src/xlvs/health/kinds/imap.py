"""imap: a mailbox server greets us, and lets us log in (RFC 9051 §3).

As ``service = imap`` of ldirectord; with `starttls` the login is within TLS.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Target
from xlvs.health.parts import imap, net
from xlvs.health.parts.login import Login
from xlvs.health.parts.tls import Tls


class Imap(Login, frozen=True, kw_only=True, tag="imap"):
    """A mailbox server greets us, and lets us log in."""

    starttls: Annotated[bool, Meta(description="Go on within TLS before logging in.")] = False
    tls: Annotated[Tls, Meta(description="What the certificate must be, and which one we show.")] = Tls()

    def prepare(self) -> None:
        """See that the files can be read; raises `Unable`."""
        super().prepare()
        self.tls.context()

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, and out."""
        async with net.stream(target) as stream:
            logged_in = await imap.greeting(stream)
            if self.starttls:
                await imap.start_tls(stream, target, self.tls)
            await imap.finish(stream, self, logged_in=logged_in)
        return None


CHECK = Imap
