"""What ``-R`` reads: lines of a pipe as they come, and the words of a line."""

from __future__ import annotations

import io
import os

import pytest

from xlvs.cli.adm.restore import lines_of, words_of


def test_lines_of_a_pipe_come_as_they_are_written() -> None:
    """A pause is told, so that what has come can be put in force; half a line waits for its other half."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream:
        lines = lines_of(stream)
        os.write(writing, b"one\n\ntw")
        assert [next(lines), next(lines), next(lines)] == ["one", "", None]
        os.write(writing, b"o\nthree \xff\nlast")
        assert [next(lines), next(lines), next(lines)] == ["two", "three \udcff", None]
        os.close(writing)
        assert list(lines) == ["last"]


def test_lines_of_what_is_no_file_come_at_once() -> None:
    """A stream in memory has no descriptor to wait for."""
    assert list(lines_of(io.BytesIO(b"one\ntwo"))) == ["one\n", "two"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-A -t 192.0.2.1:80\n", ["-A", "-t", "192.0.2.1:80"]),
        ("\tipvsadm  -A\t-s rr \r\n", ["-A", "-s", "rr"]),
        ("xlvsadm -C", ["-C"]),
        (" \t\r\n", []),
    ],
)
def test_words_of_a_line(line: str, words: list[str]) -> None:
    """Whole command lines are taken as well, of either program."""
    assert words_of(line) == words
