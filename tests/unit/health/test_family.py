"""Checks as a file has them: every kind is read, and what is wrong is said in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from xlvs import health
from xlvs.errors import InvalidError


@pytest.mark.parametrize("name", health.names())
def test_every_kind_is_its_files(name: str) -> None:
    """It says what it is, also in its options' descriptions."""
    kind = health.get(name)
    assert kind.__struct_config__.tag == name
    assert kind.__doc__


def test_plain_values_come_back() -> None:
    """What is not said is not written."""
    given = {"type": "http", "path": "/ready", "interval": "500ms", "status": "200-299,404"}
    check = health.parse(given)
    assert check.plain() == given
    assert (check.interval_s, check.timeout_s, check.rise, check.fall) == (0.5, 1.0, 2, 3)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "a health check lacks its type"),
        ({"type": "htp"}, "there is no health check 'htp' (did you mean 'http'?)"),
        ({"type": "tcp", "pth": 1}, "the health check tcp has no 'pth'"),
        ({"type": "http", "pth": "/"}, "the health check http has no 'pth' (did you mean 'path'?)"),
        ({"type": "http", "path": "x"}, "the health check http: "),
        ({"type": "http", "status": "9"}, "'9' is no status or range of them"),
        ({"type": "http", "regex": "("}, "'(' is no regular expression"),
        ({"type": "tcp", "interval": "2x"}, "the health check tcp: "),
        ({"type": "tcp", "timeout": 100}, "more than ten times the interval"),
        ({"type": "tcp", "rise": 0}, "the health check tcp: "),
    ],
)
def test_mistakes(given: dict[str, Any], sentence: str) -> None:
    """Each in a sentence that says what is wrong."""
    with pytest.raises(InvalidError) as caught:
        health.parse(given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "found"), [(2, 2.0), (0.5, 0.5), ("2", 2.0), ("500ms", 0.5), ("1.5s", 1.5), ("2m", 120.0), ("1h", 3600.0)]
)
def test_durations(text: float | str, found: float) -> None:
    """Numbers are seconds."""
    assert health.seconds(text) == found


@pytest.mark.parametrize("text", ["", "x", "0", "2d", "100h", "-1"])
def test_what_is_no_duration(text: str) -> None:
    """Refused in a sentence."""
    with pytest.raises(InvalidError):
        health.seconds(text)
