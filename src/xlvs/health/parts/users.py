"""Users of this machine, for programs that checks run as them."""

from __future__ import annotations

import os
import pwd
from typing import Any

from xlvs.health.check import Unable


def find(name: str) -> dict[str, Any]:
    """Return what starts a process as this user (subprocess.Popen); raises `Unable`."""
    try:
        found = pwd.getpwnam(name)
    except KeyError as err:
        raise Unable(f"there is no user {name!r} on this machine; see the user of a check") from err
    if os.geteuid() == found.pw_uid:
        return {}
    if os.geteuid() != 0:
        raise Unable(f"a check can run as the user {name!r} only if xlvs runs as root")
    groups = os.getgrouplist(name, found.pw_gid)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": groups}
