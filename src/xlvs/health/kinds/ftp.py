"""ftp: a file server greets us, lets us log in, and has a file (RFC 959 §5.4).

As ``service = ftp`` of ldirectord, which logs in as anonymous; here the login is left out unless there is a user.
With `starttls` the control connection is within TLS (RFC 4217 §4).  A file is fetched without TLS only: servers want
its connection to resume the session of the first, which asyncio cannot.  It comes from the address that we asked,
whatever the server says in its answer to PASV (RFC 2577 §3).
"""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Failed, Target
from xlvs.health.parts import net
from xlvs.health.parts.login import StartTlsLogin, refused
from xlvs.health.parts.replies import reply, say
from xlvs.health.parts.request import MOST, expression

_GREETING, _CLOSING, _LOGGED_IN, _TLS_BEGINS, _PASSWORD_PLEASE, _NOT_NEEDED = 220, 221, 230, 234, 331, 202
_OPENS, _OPEN, _SENT, _BINARY, _PASSIVE, _EXTENDED_PASSIVE = 150, 125, 226, 200, 227, 229
_PORT = {
    _EXTENDED_PASSIVE: re.compile(r"\((.)\1\1(?P<port>[0-9]{1,5})\1\)"),
    _PASSIVE: re.compile(r"([0-9]+,){4}(?P<high>[0-9]{1,3}),(?P<low>[0-9]{1,3})"),
}
"""RFC 2428 §3, and RFC 1123 §4.1.2.6."""


class Ftp(StartTlsLogin, frozen=True, kw_only=True, tag="ftp"):
    """A file server greets us, lets us log in, and has a file."""

    file: Annotated[str, Meta(pattern=r"^[^\r\n]*$", description="A file that is fetched; empty: none.")] = ""
    regex: Annotated[str, Meta(description="The file must match it somewhere, within its first MiB.")] = ""

    def validate(self) -> None:
        """See that the file can be fetched, and the expression be read; raises `InvalidError`."""
        super().validate()
        expression(self.regex)
        if self.regex and not self.file:
            raise InvalidError("a regex of ftp needs a file to look at")
        if self.file and (self.starttls or not self.user):
            raise InvalidError("a file of ftp needs a user, such as anonymous, and is not fetched with starttls")

    async def probe(self, target: Target) -> Answer | None:
        """Greet, log in if there is a user, look at the file, and leave."""
        async with net.stream(target) as stream:
            await reply(stream, "the connection", _GREETING)
            if self.starttls:
                await stream.say("AUTH TLS")
                await reply(stream, "AUTH TLS", _TLS_BEGINS)
                await self.tls.start(stream, target)
            if self.user:
                await self.log_in(stream)
            if self.file:
                self.judge(await self.fetch(stream, target))
                return None
            await stream.say("QUIT")
            await reply(stream, "QUIT", _CLOSING)
        return None

    async def log_in(self, stream: net.Lines) -> None:
        """Log in, with a password if one is asked for; raises `Failed`."""
        number, lines = await say(stream, f"USER {self.user}")
        if number == _PASSWORD_PLEASE:
            number, lines = await say(stream, f"PASS {self.secret()}")
        if number not in (_LOGGED_IN, _NOT_NEEDED):
            raise refused(f"{number} {lines[-1]}")

    async def fetch(self, stream: net.Lines, target: Target) -> bytes:
        """Return the beginning of the file; raises `Failed` or `OSError`."""
        await stream.say("TYPE I")
        await reply(stream, "TYPE I", _BINARY)
        port = await _passive(stream)
        async with net.stream(target._replace(port=port)) as data:
            await stream.say(f"RETR {self.file}")
            await reply(stream, "RETR", _OPENS, _OPEN)
            found = b""
            while len(found) < MOST and (more := await data.reader.read(1 << 16)):
                found += more
        if len(found) < MOST:  # else the server had to stop, and has its own words for it
            await reply(stream, "the transfer", _SENT)
        return found

    def judge(self, found: bytes) -> None:
        """See that the file is right; raises `Failed`."""
        if not expression(self.regex).search(found.decode("utf-8", "replace")):
            raise Failed(f"its file {self.file} does not match {self.regex!r}")


CHECK = Ftp


async def _passive(stream: net.Lines) -> int:
    """Return the port for the next transfer, by EPSV, or PASV with older servers; raises `Failed`."""
    number, lines = await say(stream, "EPSV")
    if 500 <= number < 505:
        number, lines = await say(stream, "PASV")
    match = _PORT[number].search(lines[-1]) if number in _PORT else None
    if match is None:
        raise Failed(f"it offers no connection for files: {number} {lines[-1]}")
    found = match.groupdict()
    port = int(found["port"]) if "port" in found else int(found["high"]) * 256 + int(found["low"])
    if not 0 < port < 1 << 16:
        raise Failed(f"it offers no connection for files: {number} {lines[-1]}")
    return port
