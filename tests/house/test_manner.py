"""Manner: what every file keeps to, whoever wrote it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import tree

PURE_PACKAGES = ("model", "sched", "plan", "config")
IMPURE_MODULES = {
    "asyncio",
    "os",
    "pyroute2",
    "random",
    "select",
    "signal",
    "socket",
    "subprocess",
    "threading",
    "time",
}

PURE_FUNCTIONS = {"AF_INET", "AF_INET6", "inet_ntop", "inet_pton"}
"""What the module socket has that opens none."""

INDEX_ADDRESS = re.compile(
    # A registry's host, a "simple" index, or an option that takes the address of one.
    r"\bpypi[.-]|pythonhosted\.|://\S+/[s]imple\b|(?<!emit-)\b(?:index-url|find-links|trusted-host)\b\s*[=:\s]\s*[\w./]",
    re.IGNORECASE,
)


def imported(path: Path) -> Iterator[str]:
    """Yield the top-level name of every module that *path* imports."""
    for node in ast.walk(tree.parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not {a.name for a in node.names} <= PURE_FUNCTIONS:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PURE_PACKAGES)
def test_pure_package_has_no_socket_and_no_clock(package: str) -> None:
    """What decides is given the time and the facts; it never fetches them itself."""
    sources = tree.python_files(tree.PACKAGE / package)
    assert sources
    impure = {tree.name(path): found for path in sources if (found := IMPURE_MODULES.intersection(imported(path)))}
    assert impure == {}


def test_every_test_says_what_it_holds() -> None:
    """Every test function has a docstring, which is the sentence it checks."""
    silent = []
    for path in tree.python_files(tree.TESTS):
        if path.stem.startswith("test_"):
            for node in ast.walk(tree.parse(path)):
                is_test = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
                if is_test and not ast.get_docstring(node):
                    silent.append(f"{tree.name(path)}: {node.name}")
    assert silent == []


def test_every_module_says_what_it_is_for() -> None:
    """Every module opens with a docstring."""
    sources = tree.python_files(tree.ROOT / "src", tree.ROOT / "tools", tree.ROOT / "bench", tree.TESTS)
    assert [
        tree.name(path) for path in sources if path.stat().st_size and not ast.get_docstring(tree.parse(path))
    ] == []


def test_every_bpf_file_names_its_licence_or_is_a_table() -> None:
    """The kernel side opens with its SPDX line, but for the tables, which other files take in."""
    sources = [path for path in tree.files(tree.BPF) if path.parent.name != "tbl"]
    assert sources
    assert [tree.name(path) for path in sources if "SPDX-License-Identifier: GPL-2.0" not in path.read_text()] == []


def test_no_file_names_a_package_index() -> None:
    """Where packages are fetched from is each machine's own affair."""
    found = []
    for path in tree.files():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if INDEX_ADDRESS.search(line):
                found.append(f"{tree.name(path)}:{number}: {line.strip()[:80]}")
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "--index" + "-url https://example.org/",
        "extra-index" + "-url = https://example.org/",
        "https://example.org/sim" + "ple/",
        "--find" + "-links /srv/wheels",
        "https://files.pythonhosted" + ".org/packages/x",
    ],
)
def test_the_search_for_index_addresses_finds_them(line: str) -> None:
    """The pattern of the test above does match what it is looking for."""
    assert INDEX_ADDRESS.search(line)
