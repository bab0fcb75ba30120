"""none: the server is always well, and is never asked.

As ``checktype = on`` and ``service = none`` of ldirectord.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Check, Target


class Nothing(Check, frozen=True, tag="none"):
    """Nothing is asked."""

    async def probe(self, target: Target) -> Answer | None:
        """Ask nothing."""
        return None


CHECK = Nothing
