"""http_proxy: a proxy fetches what a URL names (RFC 9112 §3.2.2).

As ``service = http_proxy`` of ldirectord.  The answer is judged as that of http, so a proxy that cannot reach the
URL's own server is down as well; `status: 200-599` looks at the proxy alone.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta

from xlvs.health.check import Answer, Target
from xlvs.health.parts import net
from xlvs.health.parts.request import Judged


class HttpProxy(Judged, frozen=True, kw_only=True, tag="http_proxy"):
    """A proxy fetches what a URL names."""

    url: Annotated[str, Meta(pattern="^http://[!-~]+$", description="What the proxy is asked for: http://...")]

    async def probe(self, target: Target) -> Answer | None:
        """Ask once."""
        async with net.stream(target) as stream:
            self.judge(await self.exchange(stream, self.url, urlsplit(self.url).netloc.rpartition("@")[2]))
        return None


CHECK = HttpProxy
