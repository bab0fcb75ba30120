"""haproxy: an agent says how well its server is and what weight it wants; or HAProxy itself answers at its monitor-uri.

An agent is what ``agent-check`` of HAProxy asks (configuration manual, "agent-check"): it answers a connection with a
line of words.  ``75%`` is that part of `weight`; ``drain`` is weight 0; ``down``, ``fail`` or ``failed``, ``stopped``
and ``maint`` are bad, with the reason behind a ``#``; ``up`` and ``ready`` are good.  Unlike HAProxy's, a verdict does
not outlive its answer: what an agent does not say is as configured.

With `monitor_uri` a request must be answered with status 200, which HAProxy does until a ``monitor fail`` holds.
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Check, Failed, Target
from xlvs.health.parts import net
from xlvs.health.parts.request import Request

_BAD = {"down", "failed", "fail", "stopped", "maint"}
_GOOD = {"up", "ready", "drain"}
_PERCENT = re.compile(r"\d{1,3}%", re.ASCII)
_WORDS = re.compile(r"[^\s,]+")


class Haproxy(Check, frozen=True, kw_only=True, tag="haproxy"):
    """An agent, or HAProxy itself, says that all is well."""

    monitor_uri: Annotated[
        str, Meta(pattern="^(/[!-~]*)?$", description="Ask HAProxy for this; empty: ask an agent.")
    ] = ""
    send: Annotated[str, Meta(description="What an agent is sent first, as by agent-send.")] = ""
    weight: Annotated[int, Meta(ge=1, le=65535, description="What 100% of an agent is.")] = 100

    def validate(self) -> None:
        """See that one of both is asked; raises `InvalidError`."""
        super().validate()
        if self.monitor_uri and self.send:
            raise InvalidError("a check of HAProxy has a monitor_uri, or something to send to an agent, not both")

    async def probe(self, target: Target) -> Answer | None:
        """Ask once."""
        async with net.stream(target) as stream:
            if self.monitor_uri:
                request = Request(path=self.monitor_uri, status=200)
                request.judge(await request.ask(stream, target))
                return None
            stream.writer.write(self.send.encode())
            line = await _line(stream)
        return self.understand(line)

    def understand(self, line: str) -> Answer | None:
        """Return what an agent's line says; raises `Failed`."""
        words, _, reason = line.partition("#")
        found = [word.lower() for word in _WORDS.findall(words)]
        for word in found:
            if word in _BAD:
                raise Failed(f"its agent says {word}{f': {reason.strip()[:120]}' if reason.strip() else ''}")
        percents = [int(word[:-1]) for word in found if _PERCENT.fullmatch(word)]
        if "drain" in found:
            return Answer(0)
        if percents:
            percent = min(percents[-1], 100)
            return Answer(max(self.weight * percent // 100, 1) if percent else 0)
        if not _GOOD.intersection(found):
            raise Failed(f"its agent says {line[:40]!r}, which no agent does")
        return None


async def _line(stream: net.Lines) -> str:
    """Return the first line, or what there is of it when the agent hangs up; raises `Failed`."""
    found = b""
    while not re.search(rb"[\r\n\0]", found) and len(found) < net.LONGEST_LINE:
        data = await stream.reader.read(net.LONGEST_LINE)
        if not data:
            break
        found += data
    if not found:
        raise Failed("its agent says nothing")
    return re.split(rb"[\r\n\0]", found)[0].decode("utf-8", "replace")


CHECK = Haproxy
