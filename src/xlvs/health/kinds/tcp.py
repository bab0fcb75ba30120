"""tcp: a connection can be opened.

As TCP_CHECK of keepalived and ``checktype = connect`` of ldirectord.  The connection is ended by a reset, so that
frequent checks leave no sockets in TIME_WAIT behind.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Check, Target
from xlvs.health.parts import net


class Tcp(Check, frozen=True, tag="tcp"):
    """A connection can be opened."""

    async def probe(self, target: Target) -> Answer | None:
        """Connect, and hang up."""
        (await net.connect(target)).close()
        return None


CHECK = Tcp
