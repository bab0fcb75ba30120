"""``xlvs stop``: end a daemon, and with ``--purge`` remove every trace of its instance.

Without ``--purge`` traffic goes on being balanced.  A purge works with no
daemon running as well.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import time

from xlvs.cli.client import DEFAULT_INSTANCE, Client, socket_path
from xlvs.errors import HostError, UnreachableError, XlvsError

_PATIENCE_S = 10.0


def main(argv: list[str]) -> int:
    """Run ``xlvs stop``; return the exit code."""
    parser = argparse.ArgumentParser(prog="xlvs stop", description="End the daemon; traffic goes on being balanced.")
    parser.add_argument("--instance", default=os.environ.get("XLVS_INSTANCE") or DEFAULT_INSTANCE, metavar="NAME")
    parser.add_argument("--purge", action="store_true", help="remove programs, maps, configuration and sysctls, too")
    options = parser.parse_args(argv)
    try:
        _stop(options.instance, purge=options.purge)
    except XlvsError as err:
        print(f"xlvs: {err}", file=sys.stderr)
        return err.exit_code
    return 0


def _stop(instance: str, *, purge: bool) -> None:
    try:
        with Client(socket_path(instance)) as client:
            pid = client.get("/v1/status")["pid"]
            client.post("/v1/stop", query={"purge": purge})
    except UnreachableError:
        if not purge:
            raise
        # Imported by name: the daemon is the layer above.
        paths = importlib.import_module("xlvs.daemon.paths").Paths.of(instance)
        importlib.import_module("xlvs.daemon.purge").purge_alone(paths)
        return
    _wait_for_end(pid)


def _wait_for_end(pid: int) -> None:
    """Return when the daemon is gone, so that another may start at once; raises `HostError`."""
    deadline = time.monotonic() + _PATIENCE_S
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            if _is_zombie(pid):
                return
            time.sleep(0.01)
        raise HostError(f"the daemon (pid {pid}) was told to stop but is still there after {_PATIENCE_S:.0f} s")


def _is_zombie(pid: int) -> bool:
    """Return whether the process has ended and only waits for its parent to notice."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
