"""One daemon per instance: a lock file, held as long as the process lives, that says who and in which namespace."""

from __future__ import annotations

import fcntl
import os
from types import TracebackType

from xlvs.daemon.host import netns
from xlvs.daemon.paths import Paths
from xlvs.errors import HostError


class Lock:
    """The lock of one instance; raises `HostError` if another process has it."""

    def __init__(self, paths: Paths) -> None:
        self._path = paths.lock
        try:
            paths.run.mkdir(parents=True, exist_ok=True, mode=0o755)
            self._fd = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise HostError(f"cannot open {paths.lock}: {err.strerror}") from err
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._fd, 64).decode().split()[:1]
            os.close(self._fd)
            raise HostError(
                f"instance {paths.name} has a daemon already (pid {'?' if not pid else pid[0]}); "
                f"choose another name with --instance, or stop it with `xlvs stop --instance {paths.name}`"
            ) from None

    def __enter__(self) -> Lock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not os.fstat(self._fd).st_size:  # never signed: nothing of this instance was begun
            self._path.unlink(missing_ok=True)
        os.close(self._fd)

    def sign(self) -> None:
        """Write down our pid and network namespace."""
        content = f"{os.getpid()} {netns.identity()}\n".encode()
        os.pwrite(self._fd, content, 0)  # first: who dies in between leaves a line that can be read
        os.ftruncate(self._fd, len(content))

    @staticmethod
    def kept_netns(paths: Paths) -> int:
        """Return the network namespace that the last daemon of this instance worked in, 0 if unknown."""
        try:
            return int(paths.lock.read_text().split()[1])
        except (OSError, ValueError, IndexError):
            return 0
