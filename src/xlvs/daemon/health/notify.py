"""Commands that are run when a server or a quorum changes, as keepalived's notify_up and its like.

A command gets what happened as variables: XLVS_EVENT (up, down, quorum up, quorum down), XLVS_SERVICE, XLVS_VIP,
XLVS_VPORT, XLVS_PROTOCOL, and of a server XLVS_SERVER, XLVS_RIP, XLVS_RPORT, XLVS_WHY.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal

from xlvs.daemon.log import log
from xlvs.errors import InvalidError
from xlvs.health.checker import Event
from xlvs.model import Server, Service
from xlvs.model.health import Health, Notify

LONGEST_S = 60.0


def command(event: Event, service: Service, server: Server | None) -> str:
    """Return the command that the event has; empty: none."""
    health = service.health or Health()
    own = server.health.notify if server and server.health and server.health.notify else Notify()
    match event.state:
        case "up":
            return own.up or health.notify.up
        case "down":
            return own.down or health.notify.down
        case "quorum up":
            return health.notify.quorum_up
        case "quorum down":
            return health.notify.quorum_down
    return ""


def commands(service: Service) -> set[str]:
    """Return all commands that the service may have run."""
    given = [
        (service.health or Health()).notify,
        *(s.health.notify for s in service.servers if s.health and s.health.notify),
    ]
    return {text for one in given for text in (one.up, one.down, one.quorum_up, one.quorum_down) if text}


def require(text: str) -> None:
    """See that a command can be run; raises `InvalidError`."""
    try:
        words = shlex.split(text)
    except ValueError as err:
        raise InvalidError(f"the command {text!r} cannot be read: {err}") from err
    if not words or shutil.which(words[0]) is None:
        raise InvalidError(
            f"the command {text!r} cannot be run: there is no executable {words[0] if words else text!r}; give its path"
        )


def variables(event: Event, service: Service, server: Server | None) -> dict[str, str]:
    """Return what the command is told."""
    found = {
        "XLVS_EVENT": event.state,
        "XLVS_SERVICE": event.service,
        "XLVS_VIP": str(service.key.address) if not service.key.mark else str(service.key.mark),
        "XLVS_VPORT": str(service.key.port),
        "XLVS_PROTOCOL": service.key.protocol,
    }
    if server:
        found |= {
            "XLVS_SERVER": event.server,
            "XLVS_RIP": str(server.address),
            "XLVS_RPORT": str(server.port),
            "XLVS_WHY": event.why,
        }
    return found


async def run(text: str, event: Event, service: Service, server: Server | None) -> None:
    """Run the command, for a minute at most; that it fails is logged."""
    try:
        process = await asyncio.create_subprocess_exec(
            *shlex.split(text),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, **variables(event, service, server)},
            start_new_session=True,
        )
    except (OSError, ValueError) as err:
        log("a command could not be run", command=text, why=err)
        return
    try:
        code = await asyncio.wait_for(process.wait(), LONGEST_S)
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        log("a command took too long and was ended", command=text, seconds=LONGEST_S)
        return
    if code:
        log("a command failed", command=text, exit_code=code)
