"""Points at which a daemon can be made to die, so that tests can see what a crash leaves.

With ``XLVS_FAULT=GENERATION:N`` in the environment the daemon kills itself
(SIGKILL) at the Nth point it comes to while it puts that generation in force.
Before every write to a map or to the disk there is one, and one behind the last.
"""

from __future__ import annotations

import os
import signal

_generation, _, _number = (os.environ.get("XLVS_FAULT") or "0:0").partition(":")
_left = 0


def begin(generation: int) -> None:
    """Count from here if *generation* is the one."""
    global _left
    _left = int(_number or 1) if generation == int(_generation) else 0


def point() -> None:
    """Die here, if it is this point's turn."""
    global _left
    if _left:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)
