"""nntp: a news server greets us (RFC 3977 §5.1), lets us log in, and has a group.

As ``service = nntp`` of ldirectord.  Login is by AUTHINFO USER (RFC 4643 §2.3), TLS by STARTTLS (RFC 4642 §2.2).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Target
from xlvs.health.parts import net
from xlvs.health.parts.login import StartTlsLogin, refused
from xlvs.health.parts.replies import reply, say

_GREETINGS = (200, 201)
"""Posting allowed, and prohibited."""
_CLOSING, _GROUP, _LOGGED_IN, _PASSWORD_PLEASE, _TLS_BEGINS = 205, 211, 281, 381, 382


class Nntp(StartTlsLogin, frozen=True, kw_only=True, tag="nntp"):
    """A news server greets us, lets us log in, and has a group."""

    group: Annotated[str, Meta(pattern=r"^[!-~]*$", description="A group that it must have; empty: any or none.")] = ""

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, look at the group, and leave."""
        async with net.stream(target) as stream:
            await reply(stream, "the connection", *_GREETINGS)
            if self.starttls:
                await stream.say("STARTTLS")
                await reply(stream, "STARTTLS", _TLS_BEGINS)
                await self.tls.start(stream, target)
            if self.user:
                await self.log_in(stream)
            if self.group:
                await stream.say(f"GROUP {self.group}")
                await reply(stream, f"GROUP {self.group}", _GROUP)
            await stream.say("QUIT")
            await reply(stream, "QUIT", _CLOSING)
        return None

    async def log_in(self, stream: net.Lines) -> None:
        """Log in, with a password if one is asked for; raises `Failed`."""
        number, lines = await say(stream, f"AUTHINFO USER {self.user}")
        if number == _PASSWORD_PLEASE:
            number, lines = await say(stream, f"AUTHINFO PASS {self.secret()}")
        if number != _LOGGED_IN:
            raise refused(f"{number} {lines[-1]}")


CHECK = Nntp
