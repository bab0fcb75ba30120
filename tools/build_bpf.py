"""Compile the BPF programs: every ``bpf/*.bpf.c`` to an object the loader reads.

The one place that knows the compiler and its options; ``dev`` and the wheel build both come here.  Nothing is
compiled when the sources, this file and the compiler are those of the last build.  Refuses to leave half a
build behind: objects appear only when all of them compiled.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "bpf"
OBJECTS = ROOT / "src" / "xlvs" / "dataplane" / "objects"
STAMP = OBJECTS / "stamp"

FLAGS = (
    # -mcpu=v3 has the atomics and 32-bit jumps that kernels have known since 5.12.
    *("-target", "bpfel-freestanding", "-mcpu=v3", "-O2", "-g", "-fno-asynchronous-unwind-tables"),
    *("-Wall", "-Wextra", "-Werror"),
)


class BuildError(Exception):
    """The compiler refused a source; its message went to stderr."""


def build(*, force: bool = False) -> list[Path]:
    """Compile what changed and return all objects; raises `BuildError`."""
    sources = sorted(SOURCES.glob("*.bpf.c"))
    objects = [OBJECTS / source.name.replace(".bpf.c", ".bpf.o") for source in sources]
    wanted = stamp()
    if not force and STAMP.is_file() and STAMP.read_text() == wanted and all(path.is_file() for path in objects):
        return objects
    OBJECTS.mkdir(parents=True, exist_ok=True)
    print(f"build: compiling {len(sources)} BPF objects (sources or compiler changed)", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=OBJECTS) as scratch:
        built = [Path(scratch) / path.name for path in objects]
        for source, target in zip(sources, built, strict=True):
            compile_one(source, target)
        for target, path in zip(built, objects, strict=True):
            os.replace(target, path)
    STAMP.write_text(wanted)
    return objects


def stamp() -> str:
    """Return one hash over everything an object is made from."""
    digest = hashlib.sha256(importlib.metadata.version("ziglang").encode())
    for path in [Path(__file__), *sorted(SOURCES.rglob("*.[ch]"))]:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest() + "\n"


def compile_one(source: Path, target: Path, *options: str) -> None:
    """Compile *source* to *target*, with more *options* of the compiler; raises `BuildError`."""
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise BuildError("the compiler is missing: run ./dev, which installs ziglang")
    headers = Path(found.origin).parent / "lib" / "libc" / "include"
    includes = [SOURCES, headers / "any-linux-any", headers / "x86-linux-any"]
    # Where the checkout lies must not show in the objects: equal sources give equal objects.
    renames = [f"-ffile-prefix-map={ROOT}=.", f"-ffile-prefix-map={headers}=include"]
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *options, *renames]
    command += [word for folder in includes for word in ("-I", str(folder))]
    command += ["-c", str(source), "-o", str(target)]
    if subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False).returncode != 0:
        shown = source.relative_to(ROOT) if source.is_relative_to(ROOT) else source
        raise BuildError(f"{shown} does not compile")


if __name__ == "__main__":
    try:
        build(force="--force" in sys.argv[1:])
    except BuildError as error:
        sys.exit(f"build: {error}")
