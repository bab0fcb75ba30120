"""Families: one row, one file on each side, one test, under the operator's own word."""

from __future__ import annotations

import ast

import pytest

from tests import captures
from tests.house import tree
from xlvs import health

GENERATED = tree.PACKAGE / "dataplane" / "_abi.py"

SCHEDULERS = [row[1] for row in tree.rows("sched")]
METHODS = [row[1] for row in tree.rows("fwd")]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler_has_both_halves_and_a_test(name: str) -> None:
    """A scheduler is bpf/sched/NAME.h and src/xlvs/sched/NAME.py, held to captured runs of IPVS or to test_NAME.py."""
    assert (tree.BPF / "sched" / f"{name}.h").is_file()
    assert (tree.PACKAGE / "sched" / f"{name}.py").is_file()
    captured = name in {run.scheduler for run in captures.runs()}
    assert captured or (tree.TESTS / "unit" / "sched" / f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", METHODS)
def test_forwarding_method_has_a_header(name: str) -> None:
    """A forwarding method is bpf/fwd/NAME.h."""
    assert (tree.BPF / "fwd" / f"{name}.h").is_file()


@pytest.mark.parametrize("name", health.names())
def test_kind_of_check_has_its_name_and_a_test(name: str) -> None:
    """A kind of health check is src/xlvs/health/kinds/NAME.py, tagged NAME, and tests ask with it."""
    assert health.get(name).__struct_config__.tag == name
    tests = tree.python_files(tree.TESTS / "servers", tree.TESTS / "unit" / "health")
    assert any(f'"{name}"' in path.read_text() for path in tests)


def test_every_header_is_included() -> None:
    """A header that nothing includes is dead code."""
    text = "".join(path.read_text() for path in tree.files(tree.BPF))
    headers = [path.relative_to(tree.BPF) for path in tree.files(tree.BPF) if path.suffix == ".h"]
    assert [str(path) for path in headers if f'/{path.name}"' not in text and f'"{path.name}"' not in text] == []


@pytest.mark.parametrize("table", tree.tables())
def test_rows_are_numbered_from_zero_without_gaps(table: str) -> None:
    """Row numbers are array indices on both sides: they count from 0, states in each class, and stay in order."""
    numbers = [int(row[0]) for row in tree.rows(table)]
    classes = {number // 16 for number in numbers} if table == "state" else {0}
    for first in (16 * one for one in classes):
        mine = [number for number in numbers if table != "state" or first <= number < first + 16]
        assert mine == list(range(first, first + len(mine)))
    assert numbers


@pytest.mark.parametrize("table", ["drop", "counter"])
def test_rows_tell_an_operator_what_they_mean(table: str) -> None:
    """Every drop reason and counter has a sentence of its own."""
    texts = [row[2] for row in tree.rows(table)]
    assert [text for text in texts if not text.endswith(".")] == []
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("table", tree.tables())
def test_rows_appear_in_the_generated_python(table: str) -> None:
    """Every row's name, and its sentence if it has one, is in the generated module."""
    words: set[str] = set()
    for node in ast.walk(tree.parse(GENERATED)):
        if isinstance(node, ast.Name):
            words.add(node.id.lower())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value.lower())
    wanted = [field for row in tree.rows(table) for field in row[1:] if not field.isdigit()]
    assert [field for field in wanted if field.lower() not in words] == []
