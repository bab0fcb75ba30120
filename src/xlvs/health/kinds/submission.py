"""submission: a server for mail to be sent greets us and lets us log in (RFC 6409 §3).

As ``service = submission`` of ldirectord, and with `user` also AUTH (RFC 4954), which most servers offer within TLS
only: `starttls`.  `implicit_tls` is for servers that speak TLS from the first byte (RFC 8314 §3.3, port 465).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Target
from xlvs.health.parts import net, smtp
from xlvs.health.parts.login import StartTlsLogin


class Submission(StartTlsLogin, frozen=True, kw_only=True, tag="submission"):
    """A server for mail to be sent greets us and lets us log in."""

    helo_name: Annotated[str, Meta(pattern=r"^[!-~]+$", description="The name that we give ourselves.")] = "localhost"
    implicit_tls: Annotated[bool, Meta(description="All is within TLS, as at port 465.")] = False

    def validate(self) -> None:
        """See that TLS begins once; raises `InvalidError`."""
        super().validate()
        if self.starttls and self.implicit_tls:
            raise InvalidError("a check has starttls or implicit_tls, not both")

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, and leave."""
        async with self.tls.stream(target) if self.implicit_tls else net.stream(target) as stream:
            known = await smtp.hello(stream, self.helo_name)
            if self.starttls:
                known = await smtp.start_tls(stream, target, self.tls, self.helo_name)
            if self.user:
                await smtp.log_in(stream, self, known)
            await smtp.leave(stream)
        return None


CHECK = Submission
