"""envoy: its administration interface says that it is live.

``GET /ready`` (Envoy, administration interface) is answered with 200 and LIVE, or with 503 and the state that keeps
it from being so: PRE_INITIALIZING, INITIALIZING or DRAINING.  Its port is not that of the traffic: see `port`.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Check, Failed, Target
from xlvs.health.parts import net
from xlvs.health.parts.request import Request

_READY = Request(path="/ready", status=200, regex=r"\ALIVE\s*\Z")


class Envoy(Check, frozen=True, kw_only=True, tag="envoy"):
    """Its administration interface says that it is live."""

    async def probe(self, target: Target) -> Answer | None:
        """Ask once."""
        async with net.stream(target) as stream:
            reply = await _READY.ask(stream, target)
        if reply.status == 503:
            raise Failed(f"it is {reply.body[:40].decode('utf-8', 'replace').strip() or 'not ready'}")
        _READY.judge(reply)
        return None


CHECK = Envoy
