"""The object file that the tests of the loader work with."""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[2] / "tools"
OPAQUE = ("sample_opaque",)


@functools.cache
def compiled() -> bytes:
    """Return sample.bpf.c, compiled as the real programs are."""
    sys.path.insert(0, str(TOOLS))
    try:
        import build_bpf
    finally:
        sys.path.remove(str(TOOLS))
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "sample.bpf.o"
        build_bpf.compile_one(HERE / "sample.bpf.c", target)
        return target.read_bytes()
