"""The option parser: what popt does that getopt does not."""

from __future__ import annotations

import pytest

from xlvs.cli.adm.popt import Popt, PoptError


def read(*words: str) -> tuple[list[tuple[str, str | None]], list[str]]:
    """Return every option of a command line and what is left over."""
    reader = Popt(list(words))
    options = []
    while option := reader.next():
        options.append(option)
    return options, reader.leftovers


@pytest.mark.parametrize(
    "words",
    [("-t", "a:1"), ("-ta:1",), ("-t=a:1",), ("--tcp-service", "a:1"), ("--tcp-service=a:1",)],
)
def test_argument_may_stand_anywhere(words: tuple[str, ...]) -> None:
    """Attached, after an equals sign or as the next word."""
    assert read(*words) == ([("tcp-service", "a:1")], [])


def test_short_options_cluster() -> None:
    """The last of a cluster may take an argument."""
    assert read("-At", "a:1", "-Ln") == (
        [("add-service", None), ("tcp-service", "a:1"), ("list", None), ("numeric", None)],
        [],
    )


def test_argument_may_look_like_an_option() -> None:
    """A needed argument is the next word, whatever it is."""
    assert read("-w", "-1") == ([("weight", "-1")], [])


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("-p",), [("persistent", None)]),
        (("-p", "60"), [("persistent", "60")]),
        (("-p60",), [("persistent", "60")]),
        (("--persistent=60",), [("persistent", "60")]),
        (("-p", "-n"), [("persistent", None), ("numeric", None)]),
    ],
)
def test_optional_argument_is_the_next_word_unless_that_is_an_option(
    words: tuple[str, ...], options: list[tuple[str, str | None]]
) -> None:
    """``-p`` takes what follows if it does not begin with a dash."""
    assert read(*words) == (options, [])


def test_other_words_are_left_over() -> None:
    """Words that are no options wait until the end; a lone dash is one, and after ``--`` everything is."""
    assert read("x", "-n", "-", "--", "-c") == ([("numeric", None)], ["x", "-", "-c"])


@pytest.mark.parametrize(
    ("words", "last", "message"),
    [
        (["--add-serv"], "--add-serv", "unknown option"),
        (["-nq"], "-nq", "unknown option"),
        (["-Lit"], "-Lit", "missing argument"),
        (["-n", "-s"], "-s", "missing argument"),
        (["--stats=1"], "--stats=1", "option does not take an argument"),
        (["-n=1"], "-n=1", "option does not take an argument"),
    ],
)
def test_complaint_names_the_word_read_last(words: list[str], last: str, message: str) -> None:
    """Long options are never abbreviated, and the whole word is named, not the letter."""
    reader = Popt(words)
    with pytest.raises(PoptError, match=message):
        while reader.next():
            pass
    assert reader.last_word == last
