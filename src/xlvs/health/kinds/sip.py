"""sip: OPTIONS is answered with 200 (RFC 3261 §11).

As ``service = sip`` of ldirectord, by UDP or TCP.  Nothing is sent twice: a request that is lost fails the probe.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Annotated, Literal

from msgspec import Meta

from xlvs.health.check import Answer, Check, Failed, Target
from xlvs.health.parts import datagram, net
from xlvs.health.parts.request import ranges

_MOST_HEADERS = 200
_REQUEST = """\
OPTIONS {uri} SIP/2.0
Via: SIP/2.0/{transport} {local};rport;branch=z9hG4bK{token}
Max-Forwards: 70
From: <sip:{user}@{local}>;tag={token}
To: <{uri}>
Call-ID: {token}
CSeq: 1 OPTIONS
Contact: <sip:{user}@{local}>
Accept: application/sdp
User-Agent: xlvs
Content-Length: 0

"""


class Sip(Check, frozen=True, kw_only=True, tag="sip"):
    """OPTIONS is answered with 200."""

    transport: Annotated[Literal["udp", "tcp"], Meta(description="How it is asked.")] = "udp"
    uri: Annotated[
        str, Meta(pattern="^(sips?:[!-~]+)?$", description="Whom the request is to; empty: sip:ADDRESS:PORT.")
    ] = ""
    user: Annotated[str, Meta(pattern="^[A-Za-z0-9._~-]+$", description="Who asks.")] = "xlvs"
    status: Annotated[str | int, Meta(description="Which answers are good: 200, or several: 200-299,404.")] = 200

    def validate(self) -> None:
        """See that the ranges can be read; raises `InvalidError`."""
        ranges(str(self.status))

    async def probe(self, target: Target) -> Answer | None:
        """Ask once and wait for the final answer."""
        token = os.urandom(12).hex()
        if self.transport == "udp":
            with datagram.opened(target) as sock:
                await asyncio.get_running_loop().sock_sendall(sock, self.request(target, sock, token))
                data = await datagram.hear(sock, lambda found: token.encode() in found and not _provisional(found))
            line = data.partition(b"\n")[0].strip().decode("utf-8", "replace")
        else:
            async with net.stream(target) as stream:
                stream.writer.write(self.request(target, stream.writer.get_extra_info("socket"), token))
                while _provisional((line := await _answer(stream)).encode()):
                    pass
        self.judge(line)
        return None

    def request(self, target: Target, sock: socket.socket, token: str) -> bytes:
        """Return what is sent through *sock*; *token* tells its answer from others."""
        host, port = sock.getsockname()[:2]
        local = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        uri = self.uri or f"sip:{target.host}:{target.port}"
        text = _REQUEST.format(uri=uri, transport=self.transport.upper(), local=local, user=self.user, token=token)
        return text.replace("\n", "\r\n").encode()

    def judge(self, line: str) -> None:
        """See that the status line is right (§7.2); raises `Failed`."""
        version, _, rest = line.partition(" ")
        number = rest[:3]
        if version != "SIP/2.0" or not (number.isascii() and number.isdigit() and len(number) == 3):
            raise Failed(f"its answer {line[:80]!r} is none of SIP")
        if not any(low <= int(number) <= high for low, high in ranges(str(self.status))):
            raise Failed(f"status {rest}, not {self.status}")


CHECK = Sip


def _provisional(answer: bytes) -> bool:
    """Return whether another answer follows (§7.2: 1xx)."""
    return answer.startswith(b"SIP/2.0 1")


async def _answer(stream: net.Lines) -> str:
    """Return the status line of an answer, and skip the rest of it; raises `Failed`."""
    status = line = await stream.line()
    size = 0
    for _ in range(_MOST_HEADERS):
        if not line:
            await stream.exactly(size)
            return status
        name, _, value = line.partition(":")
        if name.strip().lower() in ("content-length", "l") and value.strip().isdecimal():
            size = min(int(value), net.LONGEST_LINE)
        line = await stream.line()
    raise Failed(f"its answer has more than {_MOST_HEADERS} headers")
