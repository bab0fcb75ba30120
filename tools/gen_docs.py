"""Write the documents that are made from the code: docs/openapi.json and docs/xlvs.schema.json.

Run by ``./dev generate``; ``./dev check`` fails when what is committed differs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from xlvs import config
from xlvs.daemon import api
from xlvs.daemon.api.app import describe

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main() -> None:
    """Write both."""
    nobody = cast(api.Director, None)  # an application describes itself without a daemon behind it
    write("openapi.json", json.dumps(describe(api.make(nobody, api.Watchers(1))), indent=1, sort_keys=True))
    write("xlvs.schema.json", json.dumps(config.schema(), indent=2))


def write(name: str, text: str) -> None:
    """Replace one document, if it differs."""
    path = DOCS / name
    if not path.exists() or path.read_text() != text + "\n":
        path.write_text(text + "\n")


if __name__ == "__main__":
    main()
