"""A client of POP3 (RFC 1939) as far as checks need one."""

from __future__ import annotations

from xlvs.health.check import Failed, Target
from xlvs.health.parts.login import Login, refused
from xlvs.health.parts.net import Lines
from xlvs.health.parts.tls import Tls


async def greeting(stream: Lines) -> None:
    """Wait for the greeting (§4); raises `Failed`."""
    if not good(line := await stream.line()):
        raise Failed(f"its greeting is {line[:80]!r}")


async def start_tls(stream: Lines, target: Target, tls: Tls) -> None:
    """Go on within TLS (RFC 2595 §4); raises `Failed` or `OSError`."""
    if not good(answer := await command(stream, "STLS")):
        raise Failed(f"STLS was answered with {answer[:80]}")
    await tls.start(stream, target)


async def finish(stream: Lines, login: Login) -> None:
    """Log in if there is a user (§7), and leave; raises `Failed`."""
    if login.user:
        answer = await command(stream, f"USER {login.user}")
        if good(answer):
            answer = await command(stream, f"PASS {login.secret()}")
        if not good(answer):
            raise refused(answer[:80])
    if not good(answer := await command(stream, "QUIT")):
        raise Failed(f"QUIT was answered with {answer[:80]}")


async def command(stream: Lines, text: str) -> str:
    """Send a command and return its answer; raises `Failed`."""
    await stream.say(text)
    return await stream.line()


def good(answer: str) -> bool:
    """Return whether an answer is a good one (§3)."""
    return answer.startswith("+OK")
