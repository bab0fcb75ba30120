"""Telling systemd how we are (sd_notify(3)), if it started us."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(*messages: str) -> None:
    """Send *messages*, ``READY=1`` and the like; nobody there is no error."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.sendto(
            "\n".join(messages).encode(), address.replace("@", "\0", 1) if address.startswith("@") else address
        )
