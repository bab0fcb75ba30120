"""Health checks within the daemon: what is kept on disk, told, and run when a server's state changes."""

from __future__ import annotations

from xlvs.daemon.health.care import Care

__all__ = ["Care"]
