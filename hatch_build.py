"""Wheel build: compile the BPF objects first, so that the wheel carries them.

An editable install skips it: ``dev`` keeps the checkout's objects up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfObjects(BuildHookInterface[Any]):
    """Compile ``bpf/*.bpf.c`` before the files of a wheel are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless *version* is an editable build; raises ``BuildError``."""
        if self.target_name != "wheel" or version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "tools"))
        import build_bpf

        build_bpf.build()
