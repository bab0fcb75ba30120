"""What the verbs of ``xlvs`` share: the option of the instance, the connection, files to read and to replace."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile

from xlvs.cli.client import DEFAULT_INSTANCE, Client, socket_path
from xlvs.errors import HostError

STDIN = "-"


def parser(verb: str, description: str, *, instance: bool = True) -> argparse.ArgumentParser:
    """Return a parser for *verb*, with ``--instance`` if it talks to a daemon."""
    found = argparse.ArgumentParser(prog=f"xlvs {verb}", description=description)
    if instance:
        default = os.environ.get("XLVS_INSTANCE") or DEFAULT_INSTANCE
        found.add_argument("--instance", default=default, metavar="NAME", help=f"which daemon (default {default})")
    return found


def connect(options: argparse.Namespace, owner: str = "") -> Client:
    """Return a client of the daemon that *options* name; what it writes belongs to *owner*."""
    return Client(socket_path(options.instance), owner=owner)


def owner_of(file: str) -> str:
    """Return the owner of what *file* defines: the same for every path that leads there by another directory."""
    return "config:stdin" if file == STDIN else f"config:{os.path.abspath(file)}"


def read(file: str) -> str:
    """Return the text of *file*, or of stdin; raises `HostError`."""
    try:
        if file == STDIN:
            return sys.stdin.buffer.read().decode()
        with open(file, encoding="utf-8", newline="") as source:
            return source.read()
    except OSError as err:
        raise HostError(f"cannot read {file}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise HostError(f"cannot read {file}: it is not UTF-8 (byte {err.start})") from err


def replace(file: str, text: str) -> None:
    """Let *file* have the *text*, at one moment, with the mode and owner it had; raises `HostError`."""
    target = os.path.realpath(file)
    try:
        had = os.stat(target)
        handle, aside = tempfile.mkstemp(prefix=".xlvs-", dir=os.path.dirname(target))
        try:
            with open(handle, "w", encoding="utf-8", newline="") as out:
                out.write(text)
                out.flush()
                os.fchmod(out.fileno(), had.st_mode & 0o7777)
                # Not everybody may give files away; the text matters more.
                with contextlib.suppress(PermissionError):
                    os.fchown(out.fileno(), had.st_uid, had.st_gid)
                os.fsync(out.fileno())
            os.rename(aside, target)
        except BaseException:
            os.unlink(aside)
            raise
    except OSError as err:
        raise HostError(f"cannot replace {file}: {err.strerror}") from err
