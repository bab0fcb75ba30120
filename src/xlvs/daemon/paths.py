"""Where an instance keeps its things: everything is derived from its name.

``XLVS_RUN_DIR`` and ``XLVS_STATE_DIR`` replace ``/run/xlvs`` and ``/var/lib/xlvs``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from xlvs.errors import InvalidError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Paths:
    """The files and directories of one instance."""

    name: str
    run: Path
    state_dir: Path

    @classmethod
    def of(cls, name: str) -> Paths:
        """Return the paths of the instance *name*; raises `InvalidError` if the name cannot be a file's."""
        if not _NAME.fullmatch(name):
            raise InvalidError(f"instance name {name!r} may have letters, digits, '-' and '_' only, 64 at most")
        run = Path(os.environ.get("XLVS_RUN_DIR", "/run/xlvs"))
        return cls(name, run, Path(os.environ.get("XLVS_STATE_DIR", "/var/lib/xlvs")) / name)

    @property
    def socket(self) -> Path:
        """The unix socket that clients talk to."""
        return self.run / f"{self.name}.sock"

    @property
    def lock(self) -> Path:
        """Held by the running daemon; holds its pid."""
        return self.run / f"{self.name}.lock"

    @property
    def bpffs(self) -> Path:
        """Where our own bpffs is mounted."""
        return self.run / f"{self.name}.bpf"

    @property
    def maps(self) -> Path:
        """Pinned maps."""
        return self.bpffs / "maps"

    @property
    def progs(self) -> Path:
        """Pinned programs."""
        return self.bpffs / "progs"

    @property
    def links(self) -> Path:
        """Pinned links: what keeps the programs attached."""
        return self.bpffs / "links"

    @property
    def state(self) -> Path:
        """The configuration in force, whole."""
        return self.state_dir / "state.json"

    @property
    def journal(self) -> Path:
        """The changes since `state` was written."""
        return self.state_dir / "changes.jsonl"

    @property
    def health(self) -> Path:
        """What was last known of the servers that are checked."""
        return self.state_dir / "health.json"

    @property
    def sysctls(self) -> Path:
        """The values that sysctls had before xlvs set them."""
        return self.state_dir / "sysctls.json"

    @property
    def vips(self) -> Path:
        """The virtual addresses that xlvs added to interfaces itself."""
        return self.state_dir / "vips.json"
