"""``xlvs edit``: change a file, or a service of the daemon, in the operator's editor, as ``kubectl edit`` does.

A text with faults comes back into the editor with the faults on top.  Leaving
it as it is ends that.  Nothing that was typed is lost: if it could not be put
in force, it is kept in a file of its own.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from xlvs import config
from xlvs.cli import apply, base
from xlvs.errors import ConflictError, HostError, InvalidError, UnreachableError, XlvsError
from xlvs.model import Service, codec

_NOTE = "#! "
"""What the lines begin with that are put on top and taken away again."""

Submit = Callable[[str], str]
"""Puts an edited text in force and returns what to print; raises `XlvsError`."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs edit``."""
    found = base.parser("edit", "Change a file, or a service of the daemon, in $VISUAL or $EDITOR, and apply it.")
    found.usage = "xlvs edit [-h] [--instance NAME] (FILE | service NAME)"
    found.add_argument("file", metavar="FILE", help="the file; or the word service, for one of the daemon's")
    found.add_argument("name", metavar="NAME", nargs="?", help="the service: its name, or its id tcp:192.0.2.1:80")
    return found


def main(argv: list[str]) -> int:
    """Run ``xlvs edit``; return the exit code."""
    found = parser()
    options = found.parse_args(argv)
    if options.name is not None and options.file != "service":
        found.error("write `xlvs edit FILE` or `xlvs edit service NAME`")
    if options.name is None and options.file in ("service", base.STDIN):
        found.error("`xlvs edit service` needs a NAME, and an editor cannot edit stdin")
    if options.name is None:
        return _edit_file(options)
    return _edit_service(options)


def _edit_file(options: argparse.Namespace) -> int:
    file, original = options.file, base.read(options.file)
    owner = base.owner_of(file)

    def submit(text: str) -> str:
        document = config.load(text, filename=file, owner=owner)
        with base.connect(options, owner) as client:
            found, generation = apply.put(client, document, dry_run=True)
            _check_unchanged(file, original)
            if found:
                found, generation = apply.put(client, document, dry_run=False)
        base.replace(file, text)
        return config.render(found) + apply.told(found, generation, dry_run=False)

    return _edit(original, "", submit)


def _check_unchanged(file: str, original: str) -> None:
    if base.read(file) != original:
        raise ConflictError(f"{file} was changed by somebody else meanwhile; look at it and edit again")


def _edit_service(options: argparse.Namespace) -> int:
    with base.connect(options) as client:
        have = codec.convert(client.get(f"/v1/services/{options.name}", {"counters": False}), Service)
        generation = client.generation
    client = base.connect(options, have.owner)
    file = have.owner.removeprefix("config:") if have.owner.startswith("config:/") else ""

    def submit(text: str) -> str:
        service = _read_service(text, have)
        original, changed = "", ""
        if file:
            original = base.read(file)
            changed = config.rewrite(original, service, filename=file)
        with client:
            answer = client.put(f"/v1/services/{have.key.id}", codec.encode(service), if_match=generation)
        if file:
            _check_unchanged(file, original)
            base.replace(file, changed)
        found, now = apply.read(answer)
        place = f"; {file} says so, too" if file else ""
        return config.render(found) + apply.told(found, now, dry_run=False) + place

    notes = f"{have.title}, which belongs to {have.owner}"
    return _edit(config.dump([have]), notes, submit)


def _read_service(text: str, have: Service) -> Service:
    """Return the one service in *text*, its servers with the owners they had; raises `InvalidError`."""
    document = config.load(text, filename="service", owner=have.owner)
    if len(document.services) != 1 or document.interfaces is not UNSET:
        raise InvalidError("this is for one service and nothing else; edit or apply a file to change more")
    service = document.services[0]
    if service.key != have.key:
        raise InvalidError(
            f"what a service listens on cannot be edited ({have.key}); add another service and delete this one"
        )
    owners = {server.key: server.owner for server in have.servers}
    servers = tuple(replace(server, owner=owners.get(server.key, have.owner)) for server in service.servers)
    return service.with_servers(servers)


def _edit(original: str, about: str, submit: Submit) -> int:
    """Have *original* edited until *submit* takes it or the operator gives up; return the exit code."""
    handle, path = tempfile.mkstemp(prefix="xlvs-edit-", suffix=".yaml")
    os.close(handle)
    text, notes = original, about
    while True:
        try:
            edited = _open_editor(path, text, notes)
        except BaseException:
            _keep(path, text, original)
            raise
        if edited == text:
            if text == original:
                os.unlink(path)
                print("nothing changed")
                return 0
            _keep(path, text, original)
            print("xlvs: the text was left as it was, with its faults; nothing was changed", file=sys.stderr)
            return 1
        text = edited
        if text == original:
            os.unlink(path)
            print("nothing changed")
            return 0
        try:
            told = submit(text)
        except (UnreachableError, HostError, ConflictError):
            # No other text would help.
            _keep(path, text, original)
            raise
        except XlvsError as err:
            notes = f"{err}\nChange it and save, or leave it as it is to give up."
            continue
        except BaseException:
            _keep(path, text, original)
            raise
        os.unlink(path)
        print(told)
        return 0


def _open_editor(path: str, text: str, notes: str) -> str:
    """Return what the operator's editor makes of *text*, with *notes* above it meanwhile; raises `HostError`."""
    above = [f"{_NOTE}{line}\n" for line in notes.splitlines()]
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.write("".join(above) + text)
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        status = subprocess.run([*shlex.split(editor), path], check=False).returncode
    except (OSError, ValueError) as err:
        raise HostError(f"cannot start the editor {editor!r}: {err}; set VISUAL or EDITOR") from err
    if status:
        raise HostError(f"the editor {editor!r} ended with status {status}; nothing was changed")
    lines = base.read(path).splitlines(keepends=True)
    # No more than were put there: the file may have such lines of its own.
    for _ in above:
        if lines and lines[0].startswith(_NOTE.rstrip()):
            del lines[0]
    return "".join(lines)


def _keep(path: str, text: str, original: str) -> None:
    """Leave the operator's *text* in *path* and say so, if there is anything of theirs in it."""
    if text == original:
        os.unlink(path)
        return
    with open(path, "w", encoding="utf-8", newline="") as out:
        out.write(text)
    print(f"xlvs: your text is kept in {path}", file=sys.stderr)
