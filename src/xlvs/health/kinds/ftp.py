"""ftp: a file server greets us, and lets us log in (RFC 959 §5.4).

As ``service = ftp`` of ldirectord, which logs in as anonymous; here the login is left out unless there is a user.
With `starttls` the control connection is within TLS (RFC 4217 §4).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Target
from xlvs.health.parts import net
from xlvs.health.parts.login import Login, refused
from xlvs.health.parts.replies import reply, say
from xlvs.health.parts.tls import Tls

_GREETING, _CLOSING, _LOGGED_IN, _TLS_BEGINS, _PASSWORD_PLEASE, _NOT_NEEDED = 220, 221, 230, 234, 331, 202


class Ftp(Login, frozen=True, kw_only=True, tag="ftp"):
    """A file server greets us, and lets us log in."""

    starttls: Annotated[bool, Meta(description="Go on within TLS before logging in.")] = False
    tls: Annotated[Tls, Meta(description="What the certificate must be, and which one we show.")] = Tls()

    def prepare(self) -> None:
        """See that the files can be read; raises `Unable`."""
        super().prepare()
        self.tls.context()

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, and leave."""
        async with net.stream(target) as stream:
            await reply(stream, "the connection", _GREETING)
            if self.starttls:
                await stream.say("AUTH TLS")
                await reply(stream, "AUTH TLS", _TLS_BEGINS)
                await self.tls.start(stream, target)
            if self.user:
                await self.log_in(stream)
            await stream.say("QUIT")
            await reply(stream, "QUIT", _CLOSING)
        return None

    async def log_in(self, stream: net.Lines) -> None:
        """Log in, with a password if one is asked for; raises `Failed`."""
        number, lines = await say(stream, f"USER {self.user}")
        if number == _PASSWORD_PLEASE:
            number, lines = await say(stream, f"PASS {self.secret()}")
        if number not in (_LOGGED_IN, _NOT_NEEDED):
            raise refused(f"{number} {lines[-1]}")


CHECK = Ftp
