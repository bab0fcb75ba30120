"""What the house tests look at: the checkout's own files, and the rows of the tables."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BPF = ROOT / "bpf"
PACKAGE = ROOT / "src" / "xlvs"
TESTS = ROOT / "tests"

# Made by tools, never committed.
NOT_OURS = {".git", ".venv", "build", "dist", "objects", "__pycache__"}


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Yield every file of ours under *folder*."""
    for path in sorted(folder.iterdir()):
        if path.name in NOT_OURS or path.name.endswith(("_cache", ".egg-info")) or path.name == ".hypothesis":
            continue
        if path.is_dir():
            yield from files(path)
        else:
            yield path


def python_files(*folders: Path) -> list[Path]:
    """Return all Python sources under *folders*."""
    return [path for folder in folders if folder.is_dir() for path in files(folder) if path.suffix == ".py"]


def name(path: Path) -> str:
    """Return *path* as a reader of a failure knows it."""
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(), filename=str(path))


def rows(table: str) -> list[list[str]]:
    """Return the rows of ``bpf/tbl/TABLE.h`` as lists of fields, quotes removed."""
    text = (BPF / "tbl" / f"{table}.h").read_text()
    found = re.findall(rf"^XLVS_{table.upper()}\((.*)\)\s*$", text, re.MULTILINE)
    return [
        [field.strip().strip('"') for field in re.split(r",\s*(?=(?:[^\"]*\"[^\"]*\")*[^\"]*$)", row)] for row in found
    ]


def tables() -> list[str]:
    """Return the names of all tables."""
    return sorted(path.stem for path in (BPF / "tbl").glob("*.h"))
