"""https: a request within TLS has the right answer.

As SSL_GET of keepalived and ``service = https`` of ldirectord.  ``version: 2`` is chosen by ALPN (RFC 9113 §3.2), and
a server that does not choose it fails.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.health.check import Answer, Failed, Target
from xlvs.health.parts import net
from xlvs.health.parts.request import Request
from xlvs.health.parts.tls import Tls


class Https(Request, frozen=True, kw_only=True, tag="https"):
    """A request within TLS has the right answer."""

    tls: Annotated[Tls, Meta(description="What the certificate must be, and which one we show.")] = Tls()

    def prepare(self) -> None:
        """See that the files can be read; raises `Unable`."""
        super().prepare()
        self.tls.context()

    async def probe(self, target: Target) -> Answer | None:
        """Ask once, and look at the certificate."""
        context = self.tls.context("h2" if self.version == 2 else "http/1.1")
        async with net.stream(target, context, self.tls.sni or self.host) as stream:
            connection = stream.writer.get_extra_info("ssl_object")
            self.tls.look_at(connection)
            if self.version == 2 and connection.selected_alpn_protocol() != "h2":
                raise Failed("it does not speak HTTP/2")
            self.judge(await self.ask(stream, target))
        return None


CHECK = Https
