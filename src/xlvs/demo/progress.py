"""What is going on, on standard error: one line per step, and a live line while requests run.

Standard output stays free for the report or the JSON object.
"""

from __future__ import annotations

import shlex
import sys

WIDTH = 40


class Progress:
    """Says what happens; the live line is drawn on a terminal only, elsewhere it is one line per tenth of the work."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._tenth = 0

    def step(self, text: str) -> None:
        """Announce the next step."""
        self._write(f"==> {text}")

    def say(self, text: str) -> None:
        """Tell something about the step."""
        self._write(f"    {text}")

    def command(self, where: str, *words: str) -> None:
        """Show a command as it would be typed at *where*."""
        self._write(f"    {where}# {shlex.join(words)}")

    def bar(self, done: int, total: int) -> None:
        """Show that *done* of *total* requests are through."""
        tenth = 10 * done // total
        if self._live:
            filled = WIDTH * done // total
            sys.stderr.write(f"\r    [{'#' * filled}{'.' * (WIDTH - filled)}] {done}/{total}")
            sys.stderr.flush()
        elif tenth > self._tenth:
            self._write(f"    {done}/{total}")
        self._tenth = tenth

    def end_bar(self) -> None:
        """Leave the live line behind."""
        if self._live and self._tenth:
            sys.stderr.write("\r\033[K")
        self._tenth = 0

    def _write(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
