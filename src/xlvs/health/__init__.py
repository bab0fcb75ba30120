"""Health checks: what a real server must answer to be given traffic.

One file per kind in `kinds`; the name of the file is what a configuration file calls it.  Reading a check loads its
module and no client library; the library is loaded when the first probe runs.
"""

from __future__ import annotations

from xlvs.health.check import Answer, Check, Failed, Target, Unable, seconds
from xlvs.health.family import get, names, parse

__all__ = ["Answer", "Check", "Failed", "Target", "Unable", "get", "names", "parse", "seconds"]
