"""A client of SMTP (RFC 5321) as far as checks need one: greeting, EHLO, STARTTLS, AUTH and QUIT."""

from __future__ import annotations

import base64

from xlvs.health.check import Failed, Target
from xlvs.health.parts.login import Login, refused
from xlvs.health.parts.net import Lines
from xlvs.health.parts.replies import reply, say
from xlvs.health.parts.tls import Tls

_GREETED, _DONE, _CLOSING, _LOGGED_IN, _GO_ON = 220, 250, 221, 235, 334


async def hello(stream: Lines, name: str) -> list[str]:
    """Wait for the greeting, say who we are, and return the extensions of the server; raises `Failed`."""
    await reply(stream, "the connection", _GREETED)
    return await extensions(stream, name)


async def extensions(stream: Lines, name: str) -> list[str]:
    """Say EHLO, or HELO to a server that does not know it (RFC 5321 §3.2); raises `Failed`."""
    code, lines = await say(stream, f"EHLO {name}")
    if code == _DONE:
        return [line.upper() for line in lines[1:]]
    if 500 <= code < 505:
        code, lines = await say(stream, f"HELO {name}")
    if code != _DONE:
        raise Failed(f"it refuses us: {code} {lines[-1]}")
    return []


async def start_tls(stream: Lines, target: Target, tls: Tls, name: str) -> list[str]:
    """Go on within TLS (RFC 3207 §4) and return the extensions there; raises `Failed` or `OSError`."""
    stream.writer.write(b"STARTTLS\r\n")
    await reply(stream, "STARTTLS", _GREETED)
    await tls.start(stream, target)
    return await extensions(stream, name)


async def log_in(stream: Lines, login: Login, known: list[str]) -> None:
    """Authenticate by PLAIN or LOGIN (RFC 4954 §4, RFC 4616 §2); raises `Failed`."""
    ways = {word for line in known if line.startswith("AUTH") for word in line.replace("=", " ").split()[1:]}
    if "PLAIN" in ways:
        token = base64.b64encode(f"\0{login.user}\0{login.secret()}".encode()).decode()
        code, lines = await say(stream, f"AUTH PLAIN {token}")
    elif "LOGIN" in ways:
        code, lines = await say(stream, "AUTH LOGIN")
        for word in (login.user, login.secret()):
            if code == _GO_ON:
                code, lines = await say(stream, base64.b64encode(word.encode()).decode())
    else:
        raise Failed("it offers no login by PLAIN or LOGIN")
    if code != _LOGGED_IN:
        raise refused(f"{code} {lines[-1]}")


async def leave(stream: Lines) -> None:
    """Say QUIT; raises `Failed`."""
    stream.writer.write(b"QUIT\r\n")
    await reply(stream, "QUIT", _CLOSING)
