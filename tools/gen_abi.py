"""Write ``src/xlvs/dataplane/_abi.py``: what crosses the kernel border, as Python.

Numbers come from the #defines of ``bpf/abi.h`` and the parts it includes, enums from the rows of ``bpf/tbl/*.h``,
struct layouts from the type information of a small object compiled from ``bpf/maps.h``.  ``--check`` writes nothing
and exits with 1 when the file is out of date.  Refuses a header it cannot read in full, so that nothing is left out in
silence.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import build_bpf
from xlvs.dataplane.btf import Btf, Kind
from xlvs.dataplane.elf import Object
from xlvs.dataplane.loader import OPAQUE

ROOT = Path(__file__).resolve().parent.parent
BPF = ROOT / "bpf"
TARGET = ROOT / "src" / "xlvs" / "dataplane" / "_abi.py"

HEADER = '''"""What crosses the kernel border: numbers, enums, and struct layouts as numpy dtypes.

Made by tools/gen_abi.py from bpf/abi.h, bpf/maps.h and bpf/tbl; do not edit, run ``./dev generate``.
"""

from __future__ import annotations

import enum
from typing import Any, Self

import numpy as np


class _Row(enum.IntEnum):
    """A row of one table under bpf/tbl."""

    @property
    def label(self) -> str:
        """The row's name as operators write it."""
        return self.name.lower()


class _Told(_Row):
    """A row with a sentence for operators."""

    text: str

    def __new__(cls, number: int, text: str) -> Self:
        row = int.__new__(cls, number)
        row._value_ = number
        row.text = text
        return row


class _Timed(_Row):
    """A flow state: how long it may be idle, whether it counts as active, whether a new flow may take its place."""

    idle_s: int
    active: bool
    reclaim: bool

    def __new__(cls, number: int, idle_s: int, active: bool, reclaim: bool) -> Self:
        row = int.__new__(cls, number)
        row._value_ = number
        row.idle_s = idle_s
        row.active = active
        row.reclaim = reclaim
        return row
'''

TABLES = {
    "drop": ("DropReason", "_Told", "Why xlvs refuses a packet that was its to forward."),
    "counter": ("Counter", "_Told", "Events of the whole director."),
    "sched": ("Sched", "_Row", "The schedulers."),
    "fwd": ("Fwd", "_Row", "The forwarding methods."),
    "state": ("FlowState", "_Timed", "Flow states, under the names ipvsadm prints."),
}
"""Table: the class it becomes, its base, its docstring."""

STUB = """#include "helpers.h"
#include "maps.h"
"""


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` say whether it is out of date; return the exit code."""
    text = formatted(generate())
    if "--check" not in arguments:
        if not TARGET.exists() or TARGET.read_text() != text:
            TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print(f"{TARGET.relative_to(ROOT)} is out of date: run ./dev generate", file=sys.stderr)
    return 1


def generate() -> str:
    """Return the module's text, not yet formatted."""
    abi = "".join((BPF / name).read_text() for name in ("abi.h", "abi_flow.h", "abi_text.h"))
    parts = [HEADER, *(f"{name} = {value}" for name, value in constants(abi).items())]
    parts += [enum_class(table) for table in TABLES]
    parts += list(dtypes(compiled()))
    return "\n".join(parts) + "\n"


def constants(header: str) -> dict[str, int]:
    """Return every ``#define XLVS_NAME number`` and plain enum constant, the prefix removed."""
    found: dict[str, int] = {}
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    rows = re.findall(r"^#define\s+XLVS_(\w+)[ \t]+(\S.*)$", text, re.MULTILINE)
    rows += re.findall(r"^\tXLVS_(\w+) = (\w+),", text, re.MULTILINE)
    for name, expression in rows:
        python = re.sub(r"\bXLVS_(\w+)", lambda match: str(found[match[1]]), expression)
        python = re.sub(r"\b(0x[0-9a-fA-F]+|\d+)[uUlL]+\b", r"\1", python)
        if not re.fullmatch(r"[0-9a-fA-FxX<>()+*|\s-]+", python):
            raise SystemExit(f"gen_abi: cannot read #define XLVS_{name} {expression}")
        found[name] = int(eval(python))
    return found


def enum_class(table: str) -> str:
    """Return the class for one table."""
    name, base, doc = TABLES[table]
    text = re.sub(r"/\*.*?\*/", "", (BPF / "tbl" / f"{table}.h").read_text(), flags=re.DOTALL)
    rows = re.findall(rf"^XLVS_{table.upper()}\((\d+),\s*(\w+)(?:,\s*(.*))?\)\s*$", text, re.MULTILINE)
    if len(rows) != text.count("XLVS_"):
        raise SystemExit(f"gen_abi: cannot read every row of tbl/{table}.h")
    lines = [f"class {name}({base}):", f'    """{doc}"""', ""]
    for number, row, rest in rows:
        lines.append(f"    {row.upper()} = {value(number, rest, base)}")
    return "\n".join(lines)


def value(number: str, rest: str, base: str) -> str:
    """Return the right-hand side of one enum member."""
    if base == "_Timed":
        idle, active, reclaim = rest.split(",")
        return f"{number}, {int(idle)}, {bool(int(active))}, {bool(int(reclaim))}"
    return f"{number}, {rest}" if rest else number


def compiled() -> Btf:
    """Return the type information of all maps."""
    build_bpf.OBJECTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build_bpf.OBJECTS) as scratch:
        source, target = Path(scratch) / "maps.c", Path(scratch) / "maps.o"
        source.write_text(STUB)
        build_bpf.compile_one(source, target)
        return Object(target.read_bytes(), opaque=OPAQUE).btf


def dtypes(btf: Btf) -> Iterator[str]:
    """Yield an assignment for every struct that a map holds, after those it is made of."""
    done: set[str] = set()
    for found in btf.maps().values():
        for type_id in (found.key, found.value):
            if type_id:
                yield from struct_dtype(btf, type_id, done)


def struct_dtype(btf: Btf, type_id: int, done: set[str]) -> Iterator[str]:
    """Yield the assignments for one type and what it is made of; none for plain numbers."""
    _, found = btf.resolve(type_id)
    if found.kind == Kind.ARRAY:
        yield from struct_dtype(btf, found.array()[0], done)
    if found.kind != Kind.STRUCT or not found.name.startswith("xlvs_") or found.name in done:
        return
    done.add(found.name)
    name = constant(found.name)
    if found.name in OPAQUE:
        yield f'{name}: np.dtype[Any] = np.dtype("V{found.target}")'
        return
    names, formats, offsets = [], [], []
    for member, member_type, offset in found.rows("<III"):
        yield from struct_dtype(btf, member_type, done)
        names.append(btf.string(member))
        formats.append(field_format(btf, member_type))
        offsets.append(offset // 8)
    yield (
        f"{name}: np.dtype[Any] = np.dtype({{"
        f'"names": {names}, "formats": [{", ".join(formats)}], "offsets": {offsets}, "itemsize": {found.target}'
        "})"
    )


def field_format(btf: Btf, type_id: int) -> str:
    """Return the Python expression for the dtype of one field."""
    _, found = btf.resolve(type_id)
    if found.kind == Kind.ARRAY:
        element, count = found.array()
        return f"({field_format(btf, element)}, ({count},))"
    if found.kind == Kind.STRUCT and found.name.startswith("xlvs_"):
        return constant(found.name)
    return repr(btf.dtype(type_id).str)


def constant(struct: str) -> str:
    """Return the Python name of a struct's dtype."""
    return struct.removeprefix("xlvs_").upper()


def formatted(text: str) -> str:
    """Return *text* as ``ruff format`` leaves it."""
    command = [sys.executable, "-m", "ruff", "format", "--quiet", "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
