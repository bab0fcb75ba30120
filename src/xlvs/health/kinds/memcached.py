"""memcached: it tells its version.

The text protocol's ``version`` (memcached, doc/protocol.txt): no key is read or written, so that neither the contents
nor the statistics of the cache change.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Check, Failed, Target
from xlvs.health.parts import net


class Memcached(Check, frozen=True, kw_only=True, tag="memcached"):
    """It tells its version."""

    async def probe(self, target: Target) -> Answer | None:
        """Ask, and hang up."""
        async with net.stream(target) as stream:
            await stream.say("version")
            answer = await stream.line()
        if not answer.startswith("VERSION "):
            raise Failed(f"it answers {answer[:40]!r}, not its version")
        return None


CHECK = Memcached
