"""simpletcp: a text is sent, and what comes back matches an expression.

As ``service = simpletcp`` of ldirectord, for protocols that have no check of their own.  The answer ends when it
matches, when the server hangs up, or with its first MiB.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Check, Failed, Target
from xlvs.health.parts import net
from xlvs.health.parts.request import MOST, expression


class SimpleTcp(Check, frozen=True, kw_only=True, tag="simpletcp"):
    """A text is sent, and what comes back matches an expression."""

    send: Annotated[str, Meta(description="What is sent; empty: nothing, the server speaks first.")] = ""
    regex: Annotated[str, Meta(description="What comes back must match it somewhere.")]

    def validate(self) -> None:
        """See that the expression can be read; raises `InvalidError`."""
        if not self.regex:
            raise InvalidError("the regex of simpletcp is empty; the check tcp looks at the connection alone")
        expression(self.regex)

    async def probe(self, target: Target) -> Answer | None:
        """Send, and read until it matches."""
        wanted, found = expression(self.regex), b""
        async with net.stream(target) as stream:
            stream.writer.write(self.send.encode())
            while data := await stream.reader.read(1 << 16):
                found += data
                if wanted.search(found.decode("utf-8", "replace")):
                    return None
                if len(found) >= MOST:
                    break
        if not found:
            raise Failed("the server hung up without an answer")
        raise Failed(f"its answer {found[:40].decode('utf-8', 'replace')!r} does not match {self.regex!r}")


CHECK = SimpleTcp
