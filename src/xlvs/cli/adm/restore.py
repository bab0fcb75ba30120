"""``-R``: many commands out of one text.

Consecutive changes go to the daemon together and are put in force in one
step; what each is answered is printed in its turn, as if it had been alone.
With ``--atomic`` all of them are one change, made whole or not at all.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable, Iterator

from xlvs.cli.adm import edits
from xlvs.cli.adm.asking import make, tell_remaining
from xlvs.cli.adm.errors import REFUSED, Refused, Stop, sentence
from xlvs.cli.adm.parse import Command, parse
from xlvs.errors import UnreachableError, XlvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

    from xlvs.cli.client import Client

BATCH = 32768
"""Changes that go to the daemon together at most."""

_CHUNK = 1 << 16
_PAUSE_S = 0.05
"""For how long nothing must come before what has come is put in force: somebody may be typing."""

Run = Callable[["Client", list[str]], int]


def lines_of(stream: BinaryIO) -> Iterator[str | None]:
    """Yield the lines of *stream*, and None whenever no more of it is there for now."""
    try:
        descriptor = stream.fileno()
    except OSError:
        yield from (_text(line) for line in stream)
        return
    rest = b""
    while True:
        if not select.select([descriptor], [], [], _PAUSE_S)[0]:
            yield None
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        yield from map(_text, lines)
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    return line.decode(errors="surrogateescape")


def words_of(line: str) -> list[str]:
    """Return the words of a *line*: it may be a whole command line, of ipvsadm or of xlvsadm."""
    words = [word for word in line.replace("\t", " ").replace("\r", " ").rstrip("\n").split(" ") if word]
    return [word for word in words if word not in ("ipvsadm", "xlvsadm")]


class Restore:
    """One run of ``-R``; *run* runs a command that is no change.  Its *status* is that of the last command."""

    def __init__(self, client: Client, run: Run) -> None:
        self.status = 0
        self._client = client
        self._run = run
        self._pending: list[Command] = []

    def feed(self, lines: Iterable[str | None]) -> int:
        """Run each line as a command and return the status; what ends the whole program is raised."""
        for line in lines:
            if line is None:
                self._flush()
            elif words := words_of(line):
                self._take(words)
        self._flush()
        return self.status

    def _take(self, words: list[str]) -> None:
        try:
            command = parse(words)
        except Stop:
            self._flush()
            raise
        except Refused as refused:
            self._flush()
            self._refuse(str(refused))
            return
        # What a flush leaves is told of the moment when it is made, so it is alone.
        if command.name in edits.NAMES and command.name != "flush":
            self._pending.append(command)
            if len(self._pending) == BATCH:
                self._flush()
        else:
            self._flush()
            self.status = self._run(self._client, words)

    def _flush(self) -> None:
        """Have the commands made that wait for it."""
        pending, self._pending = self._pending, []
        if pending:
            self._make(pending, [edits.edit(command) for command in pending])

    def _make(self, commands: list[Command], wanted: list[dict[str, Any]]) -> None:
        try:
            refused = {one["edit"]: one for one in make(self._client, wanted, atomic=False)["refused"]}
        except UnreachableError:
            raise
        except XlvsError as error:
            # None of it could be put in force: find out how much of it can, as if each came alone.
            if len(commands) == 1:
                self._refuse(sentence(commands[0].name, error))
                return
            half = len(commands) // 2
            self._make(commands[:half], wanted[:half])
            self._make(commands[half:], wanted[half:])
            return
        for number, command in enumerate(commands):
            if one := refused.get(number):
                self._refuse(sentence(command.name, XlvsError(one["detail"], code=one["code"])))
            else:
                self.status = 0

    def _refuse(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")
        self.status = REFUSED


def restore_whole(client: Client, lines: Iterable[str], *, clear: bool = False) -> int:
    """Make the changes of all *lines* in one step; if one is wrong, say which, and change nothing.

    With *clear* the table is cleared in the same step.
    """
    commands = [(0, parse(["-C"]))] if clear else []
    for number, line in enumerate(lines, 1):
        if words := words_of(line):
            commands.append((number, _change(number, words)))
    try:
        answer = make(client, [edits.edit(command) for _, command in commands], atomic=True)
    except UnreachableError:
        raise
    except XlvsError as error:
        if error.edit is None:
            raise Stop(REFUSED, f"{error}; nothing was changed\n") from error
        number, command = commands[error.edit]
        raise _nothing(number, sentence(command.name, error), REFUSED) from error
    sys.stderr.write(tell_remaining(answer.get("remaining", 0)))
    return 0


def _change(number: int, words: list[str]) -> Command:
    """Return the command of a line, which must be a change."""
    try:
        command = parse(words)
    except (Stop, Refused) as error:
        if isinstance(error, Stop) and error.on_stdout:
            raise _nothing(number, f"'{words[0]}' is no change of services and servers", REFUSED) from error
        status = error.status if isinstance(error, Stop) else REFUSED
        raise _nothing(number, str(error).strip(), status) from error
    if command.name not in edits.NAMES:
        raise _nothing(number, f"'{command.name}' is no change of services and servers", REFUSED)
    return command


def _nothing(number: int, text: str, status: int) -> Stop:
    return Stop(status, f"line {number}: {text}; nothing was changed\n")
