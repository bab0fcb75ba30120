"""Write the documents that are made from the code: docs/openapi.json, docs/xlvs.schema.json and docs/checks.md.

Run by ``./dev generate``; ``./dev check`` fails when what is committed differs.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import cast

import msgspec

from xlvs import config, health
from xlvs.daemon import api
from xlvs.daemon.api.app import describe

DOCS = Path(__file__).resolve().parent.parent / "docs"


def main() -> None:
    """Write all."""
    nobody = cast(api.Director, None)  # an application describes itself without a daemon behind it
    write("openapi.json", json.dumps(describe(api.make(nobody, api.Watchers(1))), indent=1, sort_keys=True))
    write("xlvs.schema.json", json.dumps(config.schema(), indent=2))
    write("checks.md", "\n".join(checks()))


def checks() -> Iterator[str]:
    """Yield the lines about all kinds of health checks."""
    yield from (
        "# Health checks: the kinds and their options",
        "",
        "Made from `src/xlvs/health` by `./dev generate`.",
        "",
    )
    yield from ("## All kinds", "")
    yield from options(health.Check, ())
    for name in health.names():
        kind = health.get(name)
        text = " ".join(
            (inspect.getdoc(sys.modules[kind.__module__]) or "").partition(": ")[2].replace("``", "`").split()
        )
        yield from ("", f"## {name}", "", text[:1].upper() + text[1:], "")
        yield from options(kind, health.Check.__struct_fields__)


def options(kind: type[health.Check], known: Collection[str]) -> Iterator[str]:
    """Yield a table of the options of a kind that are not *known*."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    rows = [field for field in info.fields if field.name not in known]
    if rows:
        yield from ("| option | default | |", "|---|---|---|")
    for field in rows:
        default = "" if field.required else json.dumps(msgspec.to_builtins(default_of(field)))
        shown = "" if default in ("", json.dumps("")) else f"`{default}`"
        yield f"| `{field.name}` | {shown} | {description(field.type)} |"


def default_of(field: msgspec.inspect.Field) -> object:
    """Return what a field is if nothing is said."""
    return field.default_factory() if callable(field.default_factory) else field.default


def description(kind: msgspec.inspect.Type) -> str:
    """Return what is said about a field."""
    found = (getattr(kind, "extra_json_schema", None) or {}).get("description", "")
    return str(found).replace("|", "\\|")


def write(name: str, text: str) -> None:
    """Replace one document, if it differs."""
    path = DOCS / name
    if not path.exists() or path.read_text() != text + "\n":
        path.write_text(text + "\n")


if __name__ == "__main__":
    main()
