"""Objects of other builds of xlvs, for the tests of upgrades: compiled as the real programs are."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / "tools"

SMALL = (HERE / "small.bpf.c").read_text()
"""A build with one map of each kind."""


def compiled(source: str, target: Path) -> Path:
    """Compile *source*, the text of a C file, to *target*, and return that."""
    sys.path.insert(0, str(TOOLS))
    try:
        import build_bpf
    finally:
        sys.path.remove(str(TOOLS))
    written = target.with_suffix(".c")
    written.write_text(source)
    build_bpf.compile_one(written, target)
    return target


def first_release(target: Path) -> Path:
    """Compile the maps of xlvs 0.1 to *target*, and return that."""
    return compiled((HERE / "first.bpf.c").read_text(), target)


def changed(source: str, *changes: tuple[str, str]) -> str:
    """Return *source* with each first text replaced by its second, once; all of them must be there."""
    for before, after in changes:
        assert source.count(before), before
        source = source.replace(before, after, 1)
    return source
