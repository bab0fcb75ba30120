"""Run things inside a network namespace, leaving every other namespace as the caller's.

`setns(2)` moves one thread only, so each call gets a thread of its own that
ends with it.  Nothing here mounts anything: unlike under `ip netns exec`, the
files and the bpffs that a process sees stay those of the caller.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from xlvs.errors import HostError

CLONE_NEWNET = 0x40000000  # include/uapi/linux/sched.h
DIRECTORY = "/var/run/netns"

T = TypeVar("T")

_libc = ctypes.CDLL(None, use_errno=True)


def path(namespace: str) -> str:
    """Return where `ip netns` keeps the named *namespace*."""
    return f"{DIRECTORY}/{namespace}"


def inside(namespace: str, call: Callable[[], T]) -> T:
    """Return what *call* returns inside *namespace*; its exceptions come out as they are.  Raises `HostError`."""
    outcome: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            _enter(namespace)
            outcome.append(call())
        except BaseException as err:  # carried over to the caller's thread, whatever it is
            failure.append(err)

    thread = threading.Thread(target=body, name=f"in {namespace}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def popen(namespace: str, argv: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start *argv* inside *namespace*, in a session of its own: a Ctrl-C at the terminal reaches the caller alone."""
    return inside(
        namespace,
        lambda: subprocess.Popen(argv, text=True, start_new_session=True, stdin=subprocess.DEVNULL, **options),
    )


def _enter(namespace: str) -> None:
    try:
        handle = os.open(path(namespace), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as err:
        raise HostError(f"no network namespace {namespace!r}: {err.strerror}") from err
    try:
        if _libc.setns(handle, CLONE_NEWNET) != 0:
            raise HostError(f"cannot enter network namespace {namespace!r}: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(handle)
