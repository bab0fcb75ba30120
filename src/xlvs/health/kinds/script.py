"""script: a program of your own says whether a server is well.

As MISC_CHECK of keepalived: exit status 0 is good, another is not; with `dynamic` 2..255 are good as well, and ask
for the weight 0..253.  As ``checktype = external`` of ldirectord with `arguments: ldirectord`: the virtual address
and port and those of the real server are passed.  All programs find the latter two in XLVS_ADDRESS and XLVS_PORT.

The program runs in a session of its own, without a shell; when time is up, all its processes are killed that are
still in its process group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
from typing import Annotated, Any, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Check, Failed, Target, Unable
from xlvs.health.parts import users

_SAID = 120
"""Characters of the program's output that go into a message."""


class Script(Check, frozen=True, kw_only=True, tag="script"):
    """A program ends well."""

    command: Annotated[str, Meta(description="The program and its arguments, quoted as in a shell.")]
    user: Annotated[str, Meta(description="Runs it; empty: the one that runs xlvs.")] = ""
    dynamic: Annotated[bool, Meta(description="Exit status 2..255 is good, and the weight is 2 less.")] = False
    arguments: Annotated[
        Literal["none", "ldirectord"],
        Meta(description="ldirectord: pass virtual address and port, and those of the server."),
    ] = "none"
    virtual_address: Annotated[str, Meta(description="The virtual address, or the firewall mark, to pass.")] = ""
    virtual_port: Annotated[int, Meta(ge=0, le=65535, description="The virtual port to pass; 0: a dash.")] = 0

    def validate(self) -> None:
        """See that the command can be read; raises `InvalidError`."""
        super().validate()
        if not self.argv:
            raise InvalidError("the command of script is empty")
        if self.arguments == "ldirectord" and not self.virtual_address:
            raise InvalidError("arguments: ldirectord needs a virtual_address")

    @property
    def argv(self) -> list[str]:
        """The words of the command; raises `InvalidError`."""
        try:
            return shlex.split(self.command)
        except ValueError as err:
            raise InvalidError(f"the command {self.command!r} cannot be split into words: {err}") from err

    def prepare(self) -> None:
        """See that there is such a program and such a user; raises `Unable`."""
        super().prepare()
        name = self.argv[0]
        if shutil.which(name) is None:
            reason = "cannot be executed" if os.path.exists(name) else "does not exist"
            raise Unable(f"the program {name} of a check {reason}; see its command")
        if self.user:
            users.find(self.user)

    async def probe(self, target: Target) -> Answer | None:
        """Run it once."""
        status, said = await self._run(target)
        if status == 0:
            return None
        if self.dynamic and status >= 2:
            return Answer(status - 2)
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        raise Failed(f"the program {how}{f': {said}' if said else ''}")

    async def _run(self, target: Target) -> tuple[int, str]:
        """Return the exit status and the first line that was said."""
        output = os.memfd_create("output")  # unlike a pipe, nobody has to read it, and a child cannot keep it open
        try:
            process = await asyncio.create_subprocess_exec(*self._words(target), **self._options(target, output))
            try:
                status = await process.wait()
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                raise
            lines = os.pread(output, 4096, 0).decode("utf-8", "replace").strip().splitlines()
        finally:
            os.close(output)
        return status, lines[0][:_SAID] if lines else ""

    def _words(self, target: Target) -> list[str]:
        if self.arguments == "none":
            return self.argv
        ports = [str(port or "-") for port in (self.virtual_port, target.port)]
        return [*self.argv, self.virtual_address, ports[0], target.address, ports[1]]

    def _options(self, target: Target, output: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            "stdin": asyncio.subprocess.DEVNULL,
            "stdout": output,
            "stderr": output,
            "cwd": "/",
            "env": {**os.environ, "XLVS_ADDRESS": target.address, "XLVS_PORT": str(target.port)},
            "start_new_session": True,
        }
        return found | users.find(self.user) if self.user else found


CHECK = Script
