"""What is wrong with a configuration file: every place at once, each with its way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from xlvs.errors import InvalidError

Path = tuple[str | int, ...]
"""Where something is in the document: ``("services", 0, "listen", "port")``."""


class Finding(NamedTuple):
    """One fault, by its path; *at_key* if the key is wrong and not its value."""

    path: Path
    message: str
    at_key: bool = False


class Problem(NamedTuple):
    """One fault as an operator is told; *line* and *column* count from 1."""

    filename: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}:{self.column}: {self.message}"


class ConfigError(InvalidError):
    """A configuration file that cannot be used; *problems* are in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


def dotted(path: Path) -> str:
    """Return *path* as people write it: ``services[0].listen.port``."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return words.lstrip(".")


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return what to write instead of *word*: the nearest of *known*, or all of them."""
    near = difflib.get_close_matches(word.lower(), known, 1)
    return f"did you mean {near[0]!r}?" if near else f"one of {', '.join(known)}"
