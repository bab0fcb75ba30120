"""udp: a datagram is answered, or at least not refused.

As UDP_CHECK of keepalived: a reply is asked for by `require_reply` or a length; without them the server is well
unless ICMP says within `patience` that its port is closed or its host is gone (RFC 1122 §4.1.3.3).
"""

from __future__ import annotations

import asyncio
import string
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Check, Duration, Failed, Target, seconds
from xlvs.health.parts import datagram


class Udp(Check, frozen=True, kw_only=True, tag="udp"):
    """A datagram is answered, or at least not refused."""

    payload: Annotated[str, Meta(description="What is sent, in hexadecimal; spaces are ignored.")] = ""
    require_reply: Annotated[
        str | None,
        Meta(description="How the reply begins, in hexadecimal, X for any digit; empty: any reply will do."),
    ] = None
    min_reply_length: Annotated[int, Meta(ge=0, le=65535, description="The reply has at least so many bytes.")] = 0
    max_reply_length: Annotated[
        int, Meta(ge=0, le=65535, description="The reply has at most so many bytes; 0: any number.")
    ] = 0
    patience: Annotated[
        Duration | None,
        Meta(description="Where no reply is required, wait so long for a refusal; left out: half the timeout."),
    ] = None

    @property
    def replies(self) -> bool:
        """Whether there must be a reply."""
        return self.require_reply is not None or bool(self.min_reply_length or self.max_reply_length)

    @property
    def patience_s(self) -> float:
        """Seconds to wait for a refusal."""
        return self.timeout_s / 2 if self.patience is None else seconds(self.patience)

    def validate(self) -> None:
        """See that the hexadecimal can be read, and lengths fit it; raises `InvalidError`."""
        if set(self.payload.replace(" ", "")) - set(string.hexdigits) or len(self.payload.replace(" ", "")) % 2:
            raise InvalidError(f"the payload {self.payload!r} is not hexadecimal; write two digits per byte")
        known, _ = pattern(self.require_reply or "")
        if self.max_reply_length and self.max_reply_length < max(self.min_reply_length, len(known)):
            raise InvalidError(
                f"a reply cannot have at most {self.max_reply_length} bytes and at least "
                f"{max(self.min_reply_length, len(known))}"
            )
        if self.patience_s >= self.timeout_s:
            raise InvalidError(
                f"a patience of {self.patience_s:g} s does not fit into the timeout of {self.timeout_s:g} s"
            )

    async def probe(self, target: Target) -> Answer | None:
        """Send the payload, and judge the reply."""
        with datagram.opened(target) as sock:
            await asyncio.get_running_loop().sock_sendall(sock, bytes.fromhex(self.payload))
            try:
                async with asyncio.timeout(None if self.replies else self.patience_s):
                    reply = await datagram.hear(sock, lambda _any: True)
            except TimeoutError:
                return None
        self.judge(reply)
        return None

    def judge(self, reply: bytes) -> None:
        """See that the reply is right; raises `Failed`."""
        known, mask = pattern(self.require_reply or "")
        least = max(self.min_reply_length, len(known))
        if len(reply) < least:
            raise Failed(f"its reply has {len(reply)} bytes, not at least {least}")
        if self.max_reply_length and len(reply) > self.max_reply_length:
            raise Failed(f"its reply has {len(reply)} bytes, not at most {self.max_reply_length}")
        begin = reply[: len(known)]
        if bytes(one & bits for one, bits in zip(begin, mask, strict=True)) != known:
            raise Failed(f"its reply begins with {begin.hex(' ')}, not {self.require_reply}")


CHECK = Udp


@lru_cache(256)
def pattern(text: str) -> tuple[bytes, bytes]:
    """Return the bytes that ``12 XX 3X`` says, and which of their bits count; raises `InvalidError`."""
    digits = text.replace(" ", "").upper()
    if set(digits) - set(string.hexdigits) - {"X"} or len(digits) % 2:
        raise InvalidError(
            f"require_reply {text!r} is not hexadecimal; write two digits per byte, with X for any digit"
        )
    return (
        bytes.fromhex(digits.replace("X", "0")),
        bytes.fromhex("".join("0" if digit == "X" else "F" for digit in digits)),
    )
