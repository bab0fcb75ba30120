"""Points at which a daemon can be made to die, so that tests can see what a crash leaves.

With ``XLVS_FAULT=N`` in the environment the daemon kills itself (SIGKILL) at
the Nth point it comes to while it puts a change in force; every write to a map
and to the disk has one before it, and the last write one behind it.
"""

from __future__ import annotations

import os
import signal

_left = int(os.environ.get("XLVS_FAULT") or 0)


def point() -> None:
    """Die here, if it is this point's turn."""
    global _left
    if _left:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)
