"""The report is arithmetic on what the client counted."""

from __future__ import annotations

from collections import Counter

import pytest

from xlvs.demo import report
from xlvs.demo.traffic import Result, parse_http

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


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 100.0)])
def test_percentile_is_a_latency_that_was_seen(share: float, expected: float) -> None:
    """Of 1..100 ms, half took less than 51 and one in a hundred 100."""
    assert Result(latencies_ms=[float(n) for n in range(100, 0, -1)]).percentile_ms(share) == expected


def test_percentile_of_nothing_is_nothing() -> None:
    """Without an answer there is no latency."""
    assert Result().percentile_ms(0.5) is None


@pytest.mark.parametrize("family", [4, 6])
def test_drawing_lines_up(family: int) -> None:
    """The boxes of both families close at the same columns."""
    vip = {4: "10.0.0.100:5000", 6: "[fd00:a::100]:5000"}[family]
    boxes = [line for line in report.drawing(family, "nat", vip).splitlines() if line.endswith(("|", "+"))]
    assert {len(line) for line in boxes} <= {len(boxes[0]), len(boxes[-1])}


ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\nX-Real-Server: 10.0.1.11\r\n\r\nreal1 10.0.1.11\n"


def test_complete_answer_names_its_server() -> None:
    """Header and body agree on who answered."""
    assert parse_http(ANSWER) == "10.0.1.11"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        ANSWER[:-1],
        ANSWER.replace(b"200", b"502"),
        ANSWER.replace(b"1.11\n", b"1.12\n"),
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["empty", "cut short", "bad gateway", "mixed up", "headless"],
)
def test_wrong_answer_is_an_error(answer: bytes) -> None:
    """An answer that is cut short, or mixes two servers, is not counted for any."""
    with pytest.raises(ValueError, match="wrong answer"):
        parse_http(answer)
