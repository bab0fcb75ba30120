"""The report is arithmetic on what the client counted."""

from __future__ import annotations

from collections import Counter

import pytest

from xlvs.demo import report
from xlvs.demo.traffic import Result

NAMES = {"10.0.1.11": "real1", "10.0.1.12": "real2", "10.0.1.13": "real3"}


def test_requests_are_answers_plus_errors() -> None:
    """The JSON object counts every request once, and names servers that got none."""
    result = Result(Counter({"10.0.1.11": 5}), Counter({"no answer": 2}), [1.0] * 5)
    outcome = report.as_json(result, NAMES, forward="nat", requests=99)
    assert outcome == {
        "forward": "nat",
        "requests": 7,
        "errors": 2,
        "per_server": {"10.0.1.11": 5, "10.0.1.12": 0, "10.0.1.13": 0},
        "p50_ms": 1.0,
        "p99_ms": 1.0,
    }


def test_bar_length_follows_the_count() -> None:
    """The busiest server has the longest bar, one with half its requests half of that, and an idle one none."""
    lines = report.bars({"10.0.1.11": 100, "10.0.1.12": 50}, NAMES).splitlines()
    assert [line.count("#") for line in lines] == [report.BAR, report.BAR // 2, 0]
    assert "66.7 %" in lines[0]


@pytest.mark.parametrize("family", [4, 6])
def test_drawing_lines_up(family: int) -> None:
    """The boxes of both families close at the same columns."""
    vip = {4: "10.0.0.100:5000", 6: "[fd00:a::100]:5000"}[family]
    boxes = [line for line in report.drawing(family, "nat", vip).splitlines() if line.endswith(("|", "+"))]
    assert {len(line) for line in boxes} <= {len(boxes[0]), len(boxes[-1])}
