"""What the documentation shows is so."""

from __future__ import annotations

import re
from pathlib import Path

from xlvs.config import load

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "configuration.md").read_text()


def test_the_example_is_right() -> None:
    """As it is printed in the repository."""
    (service,) = load((ROOT / "examples" / "xlvs.yaml").read_text(), filename="f", owner="o").services
    assert (service.name, len(service.servers)) == ("web", 2)


def test_the_page_shows_the_whole_format() -> None:
    """Its example can be read."""
    match = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    web, dns, marked = load(match[1], filename="f", owner="o").services
    assert (web.persistent, dns.ops, marked.key.mark) == (300, True, 7)
