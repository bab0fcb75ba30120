"""smtp: a mail server greets us and answers EHLO (RFC 5321 §3.1).

As SMTP_CHECK of keepalived and ``service = smtp`` of ldirectord; with `starttls` also within TLS (RFC 3207).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Check, Target
from xlvs.health.parts import net, smtp
from xlvs.health.parts.tls import Tls


class Smtp(Check, frozen=True, kw_only=True, tag="smtp"):
    """A mail server greets us and answers EHLO."""

    helo_name: Annotated[str, Meta(pattern=r"^[!-~]+$", description="The name that we give ourselves.")] = "localhost"
    starttls: Annotated[bool, Meta(description="Go on within TLS.")] = False
    tls: Annotated[Tls, Meta(description="What the certificate must be, and which one we show.")] = Tls()

    def prepare(self) -> None:
        """See that the files can be read; raises `Unable`."""
        super().prepare()
        self.tls.context()

    async def probe(self, target: Target) -> Answer | None:
        """Greet, and leave."""
        async with net.stream(target) as stream:
            await smtp.hello(stream, self.helo_name)
            if self.starttls:
                await smtp.start_tls(stream, target, self.tls, self.helo_name)
            await smtp.leave(stream)
        return None


CHECK = Smtp
