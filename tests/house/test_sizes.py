"""Sizes: what no longer fits gets split before it grows further."""

from __future__ import annotations

import ast
import collections
import re

from tests.house import tree

MODULE_LINES = 500
TEST_LINES = 600
FUNCTION_LINES = 60
C_FILE_LINES = 400
C_FUNCTION_LINES = 80
PACKAGE_MODULES = 16

FAMILIES = {"src/xlvs/health/kinds"}
"""Packages with one module for each name an operator can write: as many as there are names."""


def test_no_python_module_is_too_long() -> None:
    """A module has at most 500 lines, a test module 600; one that is generated has what it has."""
    too_long = []
    for folder in ("src", "tools", "bench", "tests"):
        limit = TEST_LINES if folder == "tests" else MODULE_LINES
        for path in tree.python_files(tree.ROOT / folder):
            lines = len(path.read_text().splitlines())
            if lines > limit and path.name != "_abi.py":
                too_long.append(f"{tree.name(path)}: {lines} lines, at most {limit}")
    assert too_long == []


def test_no_python_function_is_too_long() -> None:
    """A function has at most 60 lines."""
    too_long = []
    for path in tree.python_files(tree.ROOT / "src", tree.ROOT / "tools", tree.ROOT / "bench", tree.TESTS):
        for node in ast.walk(tree.parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    too_long.append(f"{tree.name(path)}: {node.name} has {lines} lines, at most {FUNCTION_LINES}")
    assert too_long == []


def test_no_c_file_is_too_long() -> None:
    """A file under bpf/ has at most 400 lines."""
    counts = {tree.name(path): len(path.read_text().splitlines()) for path in tree.files(tree.BPF)}
    assert {path: lines for path, lines in counts.items() if lines > C_FILE_LINES} == {}


def test_no_c_function_is_too_long() -> None:
    """A C function has at most 80 lines between its braces."""
    too_long = []
    for path in tree.files(tree.BPF):
        for body in re.finditer(r"^\{\n(.*?)^\}", path.read_text(), re.MULTILINE | re.DOTALL):
            if body[1].count("\n") > C_FUNCTION_LINES:
                line = path.read_text()[: body.start()].count("\n")
                too_long.append(f"{tree.name(path)}:{line}: {body[1].count(chr(10))} lines, at most {C_FUNCTION_LINES}")
    assert too_long == []


def test_no_package_is_too_full() -> None:
    """A Python package has at most 16 modules, unless it is a family."""
    modules = [path for path in tree.python_files(tree.PACKAGE) if path.name != "__init__.py"]
    counts = collections.Counter(tree.name(path.parent) for path in modules)
    assert {
        package: count for package, count in counts.items() if count > PACKAGE_MODULES and package not in FAMILIES
    } == {}
