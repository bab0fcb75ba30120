"""Answers that are a number of three digits and a text, as SMTP, FTP and NNTP have them.

Each answers a line, or many of which all but the last have a dash behind the number (RFC 5321 §4.2.1,
RFC 959 §4.2).
"""

from __future__ import annotations

from xlvs.health.check import Failed
from xlvs.health.parts.net import Lines

MOST_LINES = 1000


async def take(stream: Lines) -> tuple[int, list[str]]:
    """Return number and lines of the next answer; raises `Failed`."""
    lines: list[str] = []
    number = ""
    while len(lines) < MOST_LINES:
        line = await stream.line()
        if not number:
            number = line[:3]
            if not (number.isascii() and number.isdigit() and len(number) == 3 and line[3:4] in ("", " ", "-")):
                raise Failed(f"it said {line[:80]!r}, which is no answer with a number")
        # In FTP lines between may be without the number (RFC 959 §4.2).
        lines.append(line[4:] if line[:3] == number else line)
        if line[:3] == number and line[3:4] != "-":
            return int(number), lines
    raise Failed(f"its answer {number} has more than {MOST_LINES} lines")


async def reply(stream: Lines, what: str, *wanted: int) -> list[str]:
    """Return the lines of the answer to *what*, whose number is one of *wanted*; raises `Failed`."""
    number, lines = await take(stream)
    if number not in wanted:
        raise Failed(f"{what} was answered with {number} {lines[-1]}")
    return lines


async def say(stream: Lines, text: str) -> tuple[int, list[str]]:
    """Send a line and return its answer; raises `Failed`."""
    await stream.say(text)
    return await take(stream)
