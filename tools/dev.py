"""The verbs of ``dev``; runs inside ``.venv``, which ``tools/environment.py`` has made.

One function per verb, its docstring's first line being its help.  The list of checks and of test levels is here
and nowhere else: CI calls the same verbs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

import build_bpf
import machine

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"

PURE_LEVELS = ("house", "unit", "golden")
"""Need neither root nor other programs."""
LEVELS = (*PURE_LEVELS, "packet", "servers", "netns")
"""Cheapest first."""

PYTHON_FOLDERS = ("src", "tests", "tools", "bench", "hatch_build.py")

GENERATED = {
    "tools/gen_abi.py": ("src/xlvs/dataplane/_abi.py",),
    "tools/gen_docs.py": ("docs/openapi.json", "docs/xlvs.schema.json", "docs/checks.md"),
}
"""Generator: the files it writes, which are committed."""


class VerbError(Exception):
    """The verb cannot do what was asked; the message says why."""


def demo(arguments: Sequence[str]) -> int:
    """Set up what is missing, then balance real traffic and show it (root)."""
    need_root("demo")
    machine.ensure_programs(machine.DEMO, "the demo")
    build_bpf.build()
    return run("-m", "xlvs.demo", *arguments)


def test(arguments: Sequence[str]) -> int:
    """Set up what is missing, then run all tests, a level (house unit golden packet servers netns) or a path (root)."""
    targets = [f"tests/{word}" if word in LEVELS else word for word in arguments]
    if not any((ROOT / word.split("::")[0]).exists() for word in targets):
        targets += [f"tests/{level}" for level in LEVELS if (ROOT / "tests" / level).is_dir()]
    paths = [word for word in targets if word.startswith("tests")]
    if not all(path.startswith(tuple(f"tests/{level}" for level in PURE_LEVELS)) for path in paths):
        need_root("test")
        machine.ensure_programs(machine.TEST, "the test of whole networks")
    build_bpf.build()
    return run("-m", "pytest", *targets)


def check(_arguments: Sequence[str]) -> int:
    """Run every check that needs no root: format, lint, types, layers, generated files, fast tests."""
    build_bpf.build()
    folders = [name for name in PYTHON_FOLDERS if (ROOT / name).exists()]
    tests = [f"tests/{level}" for level in PURE_LEVELS if (ROOT / "tests" / level).is_dir()]
    steps: dict[str, Callable[[], int]] = {
        "format": lambda: run("-m", "ruff", "format", "--check", "--quiet", *folders),
        "lint": lambda: run("-m", "ruff", "check", "--quiet", *folders),
        "types": lambda: run("-m", "mypy"),
        "layers": lambda: call(str(BIN / "lint-imports"), "--no-cache", "--no-logo"),
        "generated files": lambda: 1 if stale_generated() else 0,
        "tests": lambda: run("-m", "pytest", *tests),
    }
    failed = []
    for name, step in steps.items():
        begin = time.monotonic()
        try:
            code = step()
        except VerbError as error:
            print(f"check: {error}", flush=True)
            code = 1
        print(f"check: {name}: {'ok' if code == 0 else 'FAILED'} ({time.monotonic() - begin:.1f} s)", flush=True)
        if code != 0:
            failed.append(name)
    print(f"check: failed: {', '.join(failed)}" if failed else "check: all is well", flush=True)
    return 1 if failed else 0


def bench(arguments: Sequence[str]) -> int:
    """Run one benchmark, bench/NAME.py (root)."""
    names = sorted(path.stem for path in (ROOT / "bench").glob("[a-z]*.py"))
    if not arguments or arguments[0] not in names:
        raise VerbError(f"usage: ./dev bench NAME [options]; NAME is one of: {', '.join(names) or 'none yet'}")
    need_root("bench")
    machine.ensure_programs(machine.BENCH, "the benchmark")
    build_bpf.build()
    return run(f"bench/{arguments[0]}.py", *arguments[1:])


def fmt(_arguments: Sequence[str]) -> int:
    """Format the Python sources and repair what lint can repair."""
    folders = [name for name in PYTHON_FOLDERS if (ROOT / name).exists()]
    return run("-m", "ruff", "check", "--fix", "--quiet", *folders) | run("-m", "ruff", "format", *folders)


def generate(_arguments: Sequence[str]) -> int:
    """Rebuild the generated files that are committed."""
    build_bpf.build()
    for name in stale_generated():
        print(f"generate: {name} is new: commit it")
    return 0


def build(arguments: Sequence[str]) -> int:
    """Compile the BPF objects; the other verbs do so when needed (--force: even if nothing changed)."""
    for path in build_bpf.build(force="--force" in arguments):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size} bytes")
    return 0


def lock(arguments: Sequence[str]) -> int:
    """Choose dependency versions anew within pyproject.toml and write the lock files (--upgrade: the newest)."""
    options = ["--generate-hashes", "--strip-extras", "--allow-unsafe", "--no-header", "--quiet"]
    # Where packages come from is each machine's own affair and must not be committed.
    options += ["--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links", "--no-emit-options"]
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = f"{scratch}/bin/python"
        compile_lock = (python, "-m", "piptools", "compile", *options, *arguments)
        return (
            call(python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "pip-tools")
            or call(*compile_lock, "-o", "requirements.lock", "pyproject.toml")
            or call(*compile_lock, "--all-extras", "-o", "requirements-dev.lock", "pyproject.toml")
        )


def xlvs(arguments: Sequence[str]) -> int:
    """Run xlvs from the checkout."""
    build_bpf.build()
    os.execv(BIN / "xlvs", ["xlvs", *arguments])


def xlvsadm(arguments: Sequence[str]) -> int:
    """Run xlvsadm from the checkout."""
    os.execv(BIN / "xlvsadm", ["xlvsadm", *arguments])


def show_help(_arguments: Sequence[str]) -> int:
    """List the verbs."""
    print("usage: ./dev VERB [arguments]\n")
    for name, verb in VERBS.items():
        print(f"  {name:<9} {(verb.__doc__ or '').splitlines()[0]}")
    return 0


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "demo": demo,
    "test": test,
    "check": check,
    "bench": bench,
    "fmt": fmt,
    "generate": generate,
    "build": build,
    "lock": lock,
    "xlvs": xlvs,
    "xlvsadm": xlvsadm,
    "help": show_help,
}


def stale_generated() -> list[str]:
    """Run all generators and return the files that changed by it."""
    changed = []
    for generator, files in GENERATED.items():
        before = {name: read(name) for name in files}
        if run(generator) != 0:
            raise VerbError(f"{generator} failed")
        changed += [name for name in files if read(name) != before[name]]
    for name in changed:
        print(f"dev: {name} was out of date and has been made anew", file=sys.stderr)
    return changed


def read(name: str) -> bytes:
    """Return the contents of file *name* of the checkout; empty if there is none."""
    path = ROOT / name
    return path.read_bytes() if path.exists() else b""


def need_root(verb: str) -> None:
    """Raise `VerbError` unless this is root."""
    if os.geteuid() != 0:
        raise VerbError(f"{verb} makes network namespaces and loads BPF programs: run it as root (sudo ./dev {verb})")


def run(*arguments: str) -> int:
    """Run the environment's Python with *arguments* from the checkout's root; return its exit code."""
    return call(sys.executable, *arguments)


def call(*command: str) -> int:
    """Run *command* from the checkout's root; return its exit code."""
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PATH": machine.SEARCH_PATH}) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # the command got it as well, and must be let clear up after itself
                continue


def main() -> int:
    """Run the verb named on the command line."""
    name, *arguments = sys.argv[1:] or ["help"]
    verb = VERBS.get("help" if name in ("-h", "--help") else name)
    if verb is None:
        print(f"dev: no verb {name!r} (it has: {', '.join(VERBS)})", file=sys.stderr)
        return 2
    try:
        return verb(arguments)
    except KeyboardInterrupt:
        return 130
    except (VerbError, machine.SetupError, build_bpf.BuildError) as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
