"""A daemon in a network namespace of its own for benchmarks of the control plane, and what it has used so far."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType

from xlvs.cli.client import Client
from xlvs.errors import UnreachableError

START_S = 60
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Daemon:
    """``xlvs daemon`` with these *options*.  Use it in a ``with`` statement; leaves nothing behind."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._directory = tempfile.TemporaryDirectory(prefix="xlvs-bench-")
        self.name = "bench"
        self.netns = f"xlvs-bench-{os.getpid()}-{time.monotonic_ns() % 100000}"
        run, state = f"{self._directory.name}/run", f"{self._directory.name}/state"
        self.env = {**os.environ, "XLVS_RUN_DIR": run, "XLVS_STATE_DIR": state, "XLVS_INSTANCE": self.name}
        self.socket = f"{run}/{self.name}.sock"
        self.maps = Path(run, f"{self.name}.bpf", "maps")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        try:
            self._run("ip", "link", "set", "lo", "up")
            self._run("ip", "link", "add", "front", "type", "veth", "peer", "name", "far")
            for device in ("front", "far"):
                self._run("ip", "link", "set", device, "up")
            self._run("ip", "address", "add", "10.255.255.254/8", "dev", "front")
            log = open(f"{self._directory.name}/log", "wb")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "xlvs.cli.main", "daemon", "--netns", self.netns, *self._options],
                env=self.env,
                stderr=log,
            )
            self._wait()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        subprocess.run([sys.executable, "-m", "xlvs.cli.main", "stop", "--purge"], env=self.env, check=False)
        if self._process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
        subprocess.run(["ip", "netns", "delete", self.netns], check=False)
        self._directory.cleanup()

    def client(self) -> Client:
        """Return a new connection."""
        return Client(self.socket)

    def cpu_s(self) -> float:
        """Return the processor time that the daemon has used, in user mode and in the kernel (proc(5))."""
        assert self._process
        fields = Path(f"/proc/{self._process.pid}/schedstat").read_text().split()
        return int(fields[0]) / 1e9

    def rss_mib(self) -> float:
        """Return how much memory it has now."""
        assert self._process
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def _run(self, *command: str) -> None:
        subprocess.run(["ip", "netns", "exec", self.netns, *command], check=True)

    def _wait(self) -> None:
        assert self._process
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(UnreachableError), self.client() as client:
                client.get("/v1/status")
                return
            time.sleep(0.02)
        raise RuntimeError(f"the daemon did not start: {Path(self._directory.name, 'log').read_text()[-2000:]}")
