"""bfd: the BFD session with the server is up, as FRR's bfdd sees it.

As BFD_CHECK of keepalived, with FRR for the sessions: a probe asks bfdd what it knows, sends nothing to the server,
and so costs nothing at short intervals.  bfdd is asked over its socket for vtysh: a command ends with a NUL; its
output is followed by three NULs and the status (FRR, lib/vty.c, vtysh_write_status).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Check, Failed, Target

_MOST = 1 << 24
_END = b"\0\0\0"


class Bfd(Check, frozen=True, kw_only=True, tag="bfd"):
    """The BFD session with the server is up."""

    peer: Annotated[str, Meta(description="The session's peer; empty: the address that is asked.")] = ""
    interface: Annotated[str, Meta(description="The session's interface; empty: any.")] = ""
    vrf: Annotated[str, Meta(description="The session's VRF; empty: any.")] = ""
    socket: Annotated[str, Meta(description="Where bfdd listens to vtysh.")] = "/var/run/frr/bfdd.vty"

    def validate(self) -> None:
        """See that the socket is one place; raises `InvalidError`."""
        super().validate()
        if not self.socket.startswith("/"):
            raise InvalidError(f"the socket {self.socket!r} of bfdd does not begin with /")

    async def probe(self, target: Target) -> Answer | None:
        """Ask bfdd once."""
        peer = self.peer or target.address
        sessions = [one for one in await self._sessions() if self._is_meant(one, peer)]
        if not sessions:
            raise Failed(f"bfdd has no session with {peer}")
        if not any(one.get("status") == "up" for one in sessions):
            first = sessions[0]
            why = first.get("diagnostic", "ok")
            raise Failed(f"its session is {first.get('status')}{f' ({why})' if why != 'ok' else ''}")
        return None

    def _is_meant(self, session: dict[str, Any], peer: str) -> bool:
        wanted = {"peer": peer, "interface": self.interface, "vrf": self.vrf}
        return all(not value or session.get(name) == value for name, value in wanted.items())

    async def _sessions(self) -> list[dict[str, Any]]:
        """Return what bfdd knows of its peers; raises `Failed` or `OSError`."""
        reader, writer = await asyncio.open_unix_connection(self.socket, limit=_MOST)
        try:
            await _command(reader, writer, "enable")
            found = msgspec.json.decode(
                await _command(reader, writer, "show bfd peers json"), type=list[dict[str, Any]]
            )
        except msgspec.DecodeError as err:
            raise Failed(f"bfdd does not answer as bfdd does: {err}") from err
        finally:
            writer.transport.abort()
        return found


async def _command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> bytes:
    """Send a command to a daemon of FRR and return its output; raises `Failed`."""
    writer.write(text.encode() + b"\0")
    try:
        output = await reader.readuntil(_END)
        await reader.readexactly(1)
    except asyncio.IncompleteReadError as err:
        raise Failed("bfdd hung up") from err
    except asyncio.LimitOverrunError as err:
        raise Failed(f"bfdd says more than {_MOST} bytes") from err
    return output[: -len(_END)]


CHECK = Bfd
