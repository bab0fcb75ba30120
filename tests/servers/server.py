"""Real servers for the checks to ask: each in a directory of its own, at a free port, and gone in the end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from xlvs.demo.wait import until

SEARCH_PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def free_port() -> int:
    """Return a port that nothing uses, by TCP or UDP, of either family, and that is given to no client."""
    for port in random.sample(range(10000, 32000), 1000):
        with contextlib.ExitStack() as stack:
            try:
                for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
                    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                        stack.enter_context(socket.socket(family, kind)).bind((address, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def listens(port: int, families: Sequence[int]) -> bool:
    """Return whether a connection is accepted at all loopback addresses of *families*."""
    try:
        for family in families:
            socket.create_connection((LOOPBACK[family], port), 5).close()
    except OSError:
        return False
    return True


def program(name: str) -> str:
    """Return the path of a program that the set-up has installed."""
    found = shutil.which(name, path=SEARCH_PATH)
    assert found, f"{name} is not installed: tools/machine.py should have seen to it"
    return found


class Server:
    """A program that is started, stopped for a while, killed, and started again.

    It runs in a session of its own, by which all its processes are found.
    """

    def __init__(self, *ports: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="xlvs-server-"))
        self.directory.chmod(0o755)  # many servers read their files as another user
        self.ports = {name: free_port() for name in ports}
        self.before: Sequence[Sequence[str]] = ()
        self.argv: Sequence[str] = ()
        self.environment: dict[str, str] = {}
        self.families: Sequence[int] = (4, 6)
        self.ready: Callable[[], bool] = self.listens
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, name: str, text: str) -> Path:
        """Write a file that its program reads."""
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        return path

    def folder(self, name: str, mode: int = 0o755) -> Path:
        """Make a directory that its program uses."""
        path = self.directory / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
        return path

    def listens(self) -> bool:
        """Return whether it accepts connections at all of its ports."""
        return all(listens(port, self.families) for port in self.ports.values())

    def start(self) -> None:
        """Start the program and wait until it answers."""
        with (self.directory / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [program(self.argv[0]), *self.argv[1:]],
                cwd=self.directory,
                env={**os.environ, "PATH": SEARCH_PATH, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process = self.process

        def ended_or_ready() -> bool:
            return process.poll() is not None or self.ready()

        until(ended_or_ready, f"{self.argv[0]} does not answer")
        assert process.poll() is None, f"{self.argv[0]} ended: {(self.directory / 'output').read_text()[-2000:]}"

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pids(self) -> list[int]:
        """Return the processes of its session."""
        assert self.process is not None
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if session(pid) == self.process.pid]

    def pause(self) -> None:
        """Let it answer nothing, but keep its sockets."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once."""
        if self.process is None:
            return
        while self.pids():  # one that is being forked may have been missed
            self.signal(signal.SIGKILL)
            self.process.poll()
        self.process.wait()
        self.process = None

    def __enter__(self) -> Server:
        try:
            for name, *arguments in self.before:
                subprocess.run([program(name), *arguments], cwd=self.directory, check=True)
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.directory)


def session(pid: int) -> int:
    """Return the session of a process that lives; 0 if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] == "Z" else int(fields[3])
