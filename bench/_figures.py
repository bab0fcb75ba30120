"""Figures of several ways, taken in turns: medians, ratios within each round, and the table.

Pure.  A ratio is taken between two figures of the same round, as the machine may be twice as fast a minute later;
what is shown is the median of these ratios, not the ratio of the medians.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Row:
    """What was measured of one way: for each figure a value per round; *why* there is none, if so."""

    name: str
    rounds: dict[str, list[float]] = field(default_factory=dict)
    why: str = ""

    def add(self, figures: Mapping[str, float]) -> None:
        """Take the figures of one round."""
        for name, value in figures.items():
            self.rounds.setdefault(name, []).append(value)

    def median(self, figure: str) -> float:
        """Return the middle value of *figure*."""
        return statistics.median(self.rounds[figure])

    def ratio(self, figure: str, base: Row) -> float | None:
        """Return the median of this row's *figure* divided by that of *base*, round by round; None without *base*."""
        if self.why or base.why or figure not in base.rounds:
            return None
        pairs = zip(self.rounds[figure], base.rounds[figure], strict=True)
        return statistics.median(own / other for own, other in pairs)


@dataclass(frozen=True)
class Column:
    """One figure as the table shows it: *title* above, divided by *scale*, with ratios to *bases*."""

    figure: str
    title: str
    scale: float = 1.0
    digits: int = 1
    bases: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Characters it takes."""
        return self.own + 7 * len(self.bases)

    @property
    def own(self) -> int:
        """Characters of the figure itself, without the ratios."""
        return max(9, len(self.title) + 2 - 7 * len(self.bases))


def table(rows: Sequence[Row], columns: Sequence[Column], labels: Mapping[str, str]) -> str:
    """Return *rows* for people; *labels* gives each base, a row's name, the short one for its column."""
    named = {row.name: row for row in rows}
    first = max(len(row.name) for row in rows) + 1
    titles = " " * first + "".join(f"{column.title:>{column.width}}" for column in columns)
    heads = "".join(
        " " * column.own + "".join(f"{'/' + labels[base]:>7}" for base in column.bases) for column in columns
    )
    lines = [titles.rstrip(), (" " * first + heads).rstrip()]
    for row in rows:
        lines.append(f"{row.name:<{first}}" + (f"  {row.why}" if row.why else _cells(row, columns, named)))
    return "\n".join(lines)


def _cells(row: Row, columns: Sequence[Column], named: Mapping[str, Row]) -> str:
    text = ""
    for column in columns:
        text += f"{row.median(column.figure) / column.scale:>{column.own}.{column.digits}f}"
        for base in column.bases:
            ratio = row.ratio(column.figure, named[base]) if base in named else None
            text += f"{'-' if ratio is None else f'{ratio:.2f}':>7}"
    return text


def as_json(rows: Sequence[Row], bases: Sequence[str]) -> list[dict[str, Any]]:
    """Return *rows* for programs: medians, ratios to *bases*, and every round."""
    named = {row.name: row for row in rows}
    return [
        {"name": row.name, "why": row.why}
        if row.why
        else {
            "name": row.name,
            "median": {figure: row.median(figure) for figure in row.rounds},
            "ratio": {
                base: {figure: row.ratio(figure, named[base]) for figure in row.rounds}
                for base in bases
                if base in named
            },
            "rounds": row.rounds,
        }
        for row in rows
    ]
