"""xlvs itself in a run of the demonstration or of a test: the daemon, and the commands an operator would type.

Every command is the installed one in a process of its own.  Refuses nothing
by itself: what a command refuses is raised with the sentence it said.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlvs.cli.client import Client, socket_path
from xlvs.demo import netns
from xlvs.demo.servers import stop
from xlvs.demo.wait import until
from xlvs.errors import HostError, UnreachableError

ENTRIES = {"xlvs": "xlvs.cli.main", "xlvsadm": "xlvs.cli.xlvsadm"}


def command(name: str, *arguments: str) -> list[str]:
    """Return what runs the executable *name* (`xlvs` or `xlvsadm`) of this installation."""
    code = f"import sys; from {ENTRIES[name]} import main; sys.argv[0] = {name!r}; sys.exit(main())"
    return [sys.executable, "-c", code, *arguments]


def finished(process: subprocess.Popen[str], what: str) -> str:
    """Wait for *process* and return its standard output.  Raises `HostError` with what it said if it failed."""
    out, err = process.communicate()
    if process.returncode != 0:
        raise HostError(f"`{what}` failed: {(err or out).strip() or f'exit code {process.returncode}'}")
    return out


def real_server(namespaces: Sequence[str], *arguments: str) -> None:
    """Run `xlvs real-server` in all *namespaces* at once.  Raises `HostError` when all are done and one failed."""
    words = command("xlvs", "real-server", *arguments)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with contextlib.ExitStack() as all_done:
        for process in [netns.popen(namespace, words, **pipes) for namespace in namespaces]:
            all_done.callback(finished, process, f"xlvs real-server {' '.join(arguments)}")


@dataclass(slots=True)
class Director:
    """One instance of xlvs on the network of *namespace*; *interfaces* is the daemon's option of that name.

    *options* are more of its options.
    """

    namespace: str
    instance: str
    log: Path
    interfaces: str = "auto"
    options: Sequence[str] = ()
    process: subprocess.Popen[str] | None = field(default=None)

    def start(self) -> None:
        """Start the daemon and return when it answers.  Raises `HostError` with the end of its log."""
        options = ["--instance", self.instance, "--netns", self.namespace, "--interfaces", self.interfaces]
        options += self.options
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command("xlvs", "daemon", *options),
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        """Return when the daemon answers.  Raises `HostError`."""
        process = self.process
        assert process is not None
        until(lambda: process.poll() is not None or self.answers(), "the daemon did not answer")
        if process.poll() is not None:
            lines = self.log.read_text().strip().splitlines()
            raise HostError(f"the daemon did not start: {lines[-1] if lines else f'exit code {process.returncode}'}")

    def answers(self) -> bool:
        """Return whether the daemon answers on its socket."""
        try:
            self.ask("status")
        except UnreachableError:
            return False
        return True

    def ask(self, what: str) -> Any:
        """Return what the daemon's API has at ``/v1/`` *what*.  Raises `XlvsError`."""
        with Client(socket_path(self.instance)) as client:
            return client.get(f"/v1/{what}")

    def admin(self, *arguments: str, stdin: str = "") -> str:
        """Run `xlvsadm` on this instance and return what it prints.  Raises `HostError`."""
        process = subprocess.Popen(
            command("xlvsadm", *arguments),
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "XLVS_INSTANCE": self.instance},
        )
        out, err = process.communicate(stdin)
        if process.returncode != 0:
            raise HostError(f"`xlvsadm {' '.join(arguments)}` failed: {(err or out).strip()}")
        return out

    def hook(self) -> str:
        """Return which hook forwarded most packets so far, `xdp` or `tc`."""
        counters = self.ask("counters")
        return "xdp" if counters["xdp_forwarded"] > counters["tc_forwarded"] else "tc"

    def why(self, interface: str) -> str:
        """Return the daemon's reason for the hook that *interface* has."""
        return next((str(row["why"]) for row in self.ask("interfaces") if row["name"] == interface), "")

    def purge(self) -> None:
        """End the daemon, if it runs, and remove every trace of the instance.  Raises `HostError`."""
        pipes = subprocess.PIPE
        asked = subprocess.Popen(
            command("xlvs", "stop", "--instance", self.instance, "--purge"),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=pipes,
            stderr=pipes,
        )
        try:
            finished(asked, "xlvs stop --purge")
        finally:
            if self.process is not None:
                self._reap(self.process)

    def _reap(self, process: subprocess.Popen[str]) -> None:
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            stop(process)
