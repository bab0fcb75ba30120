"""Make the checkout's environment, ``.venv``: pinned dependencies, and xlvs itself in editable form.

Does nothing when the environment matches the lock file, so that every verb of ``dev`` can call it first.
Needs neither a compiler nor an installed pip: Debian's ``python3-venv`` is fetched if this Python has no
``ensurepip``.  Standard library only.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import sys
from pathlib import Path

import machine

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements-dev.lock"
STAMP = VENV / "xlvs-stamp"


def ensure() -> None:
    """Create or update the environment if it is not what the lock file asks for; raises `machine.SetupError`."""
    if is_current():
        return
    # Two verbs started at once must not install over each other.  The lock is on the checkout itself, as .venv
    # may not exist yet.
    descriptor = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not is_current():
            create()
            install()
            STAMP.write_text(stamp())
    finally:
        os.close(descriptor)


def is_current() -> bool:
    """Return whether the environment is complete; its stamp is written last."""
    return STAMP.is_file() and STAMP.read_text() == stamp() and PYTHON.exists()


def stamp() -> str:
    """Return what the environment was made from: the place, as scripts hold absolute paths, and the pins."""
    digest = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return f"{VENV}\n{digest}\n"


def create() -> None:
    """Make an empty environment, unless a usable one stands at this place."""
    moved = STAMP.is_file() and STAMP.read_text().splitlines()[:1] != [str(VENV)]
    if PYTHON.exists() and not moved:
        return
    if importlib.util.find_spec("ensurepip") is None or importlib.util.find_spec("venv") is None:
        machine.install(["python3-venv"], "the environment is a venv")
    machine.say(f"creating .venv with Python {sys.version.split()[0]}")
    machine.run_quietly([sys.executable, "-m", "venv", "--clear", str(VENV)], "python3 -m venv")


def install() -> None:
    """Install the pinned dependencies, then xlvs as a link to the sources."""
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    count = sum("==" in line for line in LOCK.read_text().splitlines())
    machine.say(f"installing {count} pinned Python packages into .venv (once; about a minute)")
    # No compiler may be here, so packages must come built.
    pinned = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", str(LOCK)]
    machine.run_quietly([*pip, *pinned], "pip install")
    machine.say("linking xlvs into .venv")
    machine.run_quietly([*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT)], "pip install -e")


if __name__ == "__main__":
    try:
        ensure()
    except machine.SetupError as error:
        sys.exit(f"dev: {error}")
