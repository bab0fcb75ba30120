"""What the documentation shows is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from xlvs.config import ConfigError, load

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


def test_the_example_is_right() -> None:
    """As it is printed in the repository."""
    (service,) = load((ROOT / "examples" / "xlvs.yaml").read_text(), filename="f", owner="o").services
    assert (service.name, len(service.servers)) == ("web", 2)


def test_the_page_shows_the_whole_format_and_marks_what_is_not_supported_yet() -> None:
    """Its example is refused for nothing but that."""
    match = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    with pytest.raises(ConfigError) as caught:
        load(match[1], filename="f", owner="o")
    marked = {
        number for number, line in enumerate(match[1].splitlines(), 1) if line.endswith("*") and "mark:" not in line
    }
    assert {problem.line for problem in caught.value.problems} == marked
    assert all(problem.message.endswith("is not supported yet") for problem in caught.value.problems)
