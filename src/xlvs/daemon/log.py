"""One line per decision, on stderr: an event in words, then key=value."""

from __future__ import annotations

import sys


def log(event: str, **values: object) -> None:
    """Write one line; values with blanks are quoted."""
    words = [f"{key}={_word(str(value))}" for key, value in values.items()]
    print(": ".join(filter(None, (event, " ".join(words)))), file=sys.stderr, flush=True)


def _word(text: str) -> str:
    return f'"{text}"' if " " in text or not text else text
