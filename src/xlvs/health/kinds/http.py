"""http: a request has the right answer.

As HTTP_GET of keepalived and ``service = http`` of ldirectord: the status is one of a list, the body matches an
expression or has a digest, a header has a value.  HTTP/1.1 by h11; ``version: 2`` by h2
(RFC 9113 §3.3, prior knowledge).
"""

from __future__ import annotations

from xlvs.health.check import Answer, Target
from xlvs.health.parts import net
from xlvs.health.parts.request import Request


class Http(Request, frozen=True, kw_only=True, tag="http"):
    """A request over TCP has the right answer."""

    async def probe(self, target: Target) -> Answer | None:
        """Ask once."""
        async with net.stream(target) as stream:
            self.judge(await self.ask(stream, target))
        return None


CHECK = Http
