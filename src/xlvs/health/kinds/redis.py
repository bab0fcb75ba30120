"""redis: Redis, or Valkey, answers a PING, and plays its role.

As ``tcp-check`` with PING and ``role:master`` of HAProxy, without the plain-text dialogue.  The protocol is RESP
(redis.io, Redis serialization protocol specification), of which the few commands here need no library; AUTH comes
first if there is a password.  A server that loads its data, or has lost its master and may not serve what is old,
answers a PING with an error, and is down.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Failed, Target
from xlvs.health.parts import net
from xlvs.health.parts.login import Login
from xlvs.health.parts.tls import Tls

Value = str | int | None | list["Value"]

_ROLES = {"master": "master", "slave": "replica", "sentinel": "sentinel"}
_MOST = 1 << 16
_DEFAULT = "default"


class Redis(Login, frozen=True, kw_only=True, tag="redis"):
    """Redis answers a PING."""

    user: Annotated[str, Meta(description="Log in as this one, if there is a password.")] = _DEFAULT
    role: Annotated[Literal["any", "master", "replica"], Meta(description="What it must be.")] = "any"
    tls: Annotated[Tls | None, Meta(description="Speak within TLS, and hold the certificate to this.")] = None

    def validate(self) -> None:
        """See that a user of one's own has a password; raises `InvalidError`."""
        super().validate()
        if self.user != _DEFAULT and not (self.password or self.password_file):
            raise InvalidError("a user of redis needs a password or a password_file")

    def prepare(self) -> None:
        """See that the files can be read; raises `Unable`."""
        super().prepare()
        if self.tls:
            self.tls.context()

    async def probe(self, target: Target) -> Answer | None:
        """Log in, ask, and hang up."""
        async with self.tls.stream(target) if self.tls else net.stream(target) as stream:
            if secret := self.secret():
                # Before Redis 6 there were no users: AUTH with a password alone is known to all.
                await _ask(stream, "AUTH", *([] if self.user == _DEFAULT else [self.user]), secret)
            if (pong := await _ask(stream, "PING")) != "PONG":
                raise Failed(f"it answers a PING with {pong!r}")
            if self.role != "any":
                self._judge(await _ask(stream, "ROLE"))
        return None

    def _judge(self, answer: Value) -> None:
        """See that the answer to ROLE is right; raises `Failed`."""
        name = answer[0] if isinstance(answer, list) and answer else answer
        found = _ROLES.get(str(name), str(name))
        if found != self.role:
            raise Failed(f"it is a {found}, not a {self.role}")


async def _ask(stream: net.Lines, *words: str) -> Value:
    """Send a command and return the answer; raises `Failed`."""
    parts = [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in words]
    stream.writer.write(b"*%d\r\n" % len(parts) + b"".join(parts))
    return await _take(stream)


async def _take(stream: net.Lines, depth: int = 0) -> Value:
    line = await stream.line()
    kind, rest = line[:1], line[1:]
    if kind == "+":
        return rest
    if kind == "-":
        raise Failed(f"it answers: {rest}")
    try:
        number = int(rest)
    except ValueError:
        number = None
    if kind not in (":", "$", "*") or number is None or not (kind == ":" or -1 <= number <= _MOST) or depth > 8:
        raise Failed(f"it does not speak Redis but says {line[:40]!r}")
    if kind == ":":
        return number
    if number < 0:
        return None
    if kind == "*":
        return [await _take(stream, depth + 1) for _ in range(number)]
    return (await stream.exactly(number + 2))[:-2].decode("utf-8", "replace")


CHECK = Redis
