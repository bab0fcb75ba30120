"""A client of IMAP (RFC 9051) as far as checks need one."""

from __future__ import annotations

from xlvs.health.check import Failed, Target
from xlvs.health.parts.login import Login, refused
from xlvs.health.parts.net import Lines
from xlvs.health.parts.tls import Tls

MOST_LINES = 1000


async def greeting(stream: Lines) -> bool:
    """Wait for the greeting and return whether we are logged in by it (§7.1.4); raises `Failed`."""
    line = await stream.line()
    word = line[2:].partition(" ")[0].upper()
    if not line.startswith("* ") or word not in ("OK", "PREAUTH"):
        raise Failed(f"its greeting is {line[:80]!r}")
    return word == "PREAUTH"


async def command(stream: Lines, tag: str, text: str) -> str:
    """Send a command and return the answer behind its tag (§2.2.2); raises `Failed`."""
    await stream.say(f"{tag} {text}")
    for _ in range(MOST_LINES):
        line = await stream.line()
        if line.startswith(f"{tag} "):
            return line[len(tag) + 1 :]
    raise Failed(f"it does not come to an end within {MOST_LINES} lines")


async def start_tls(stream: Lines, target: Target, tls: Tls) -> None:
    """Go on within TLS (§6.2.1); raises `Failed` or `OSError`."""
    answer = await command(stream, "a1", "STARTTLS")
    if not good(answer):
        raise Failed(f"STARTTLS was answered with {answer[:80]}")
    await tls.start(stream, target)


async def finish(stream: Lines, login: Login, *, logged_in: bool) -> None:
    """Log in if there is a user (§6.2.3), and out; raises `Failed`."""
    if login.user and not logged_in:
        answer = await command(stream, "a2", f"LOGIN {quoted(login.user)} {quoted(login.secret())}")
        if not good(answer):
            raise refused(answer[:80])
    answer = await command(stream, "a3", "LOGOUT")
    if not good(answer):
        raise Failed(f"LOGOUT was answered with {answer[:80]}")


def good(answer: str) -> bool:
    """Return whether an answer is OK."""
    return answer.upper().startswith("OK")


def quoted(text: str) -> str:
    """Return a string as IMAP quotes it (§4.3)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
