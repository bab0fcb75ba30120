"""The JSON Schema of the file format, generated from `xlvs.config.document`."""

from __future__ import annotations

from typing import Any

import msgspec

from xlvs.config.document import File

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file."""
    (root,), parts = msgspec.json.schema_components([File], ref_template="#/$defs/{name}")
    for part in parts.values():
        if not part.get("required"):
            part.pop("required", None)
    return {"$schema": DIALECT, "title": "xlvs.yaml", **root, "$defs": dict(sorted(parts.items()))}
