"""The published JSON Schema, and that it and the code agree on what a file may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

from xlvs import sched
from xlvs.config import schema
from xlvs.config.document import ForwardName, SchedulerName
from xlvs.model import FORWARDS

PUBLISHED = Path(__file__).resolve().parents[3] / "docs" / "xlvs.schema.json"


def test_the_published_schema_is_the_generated_one() -> None:
    """`xlvs schema > docs/xlvs.schema.json` has been run since the format changed."""
    assert PUBLISHED.read_text() == json.dumps(schema(), indent=2) + "\n"


def test_every_key_has_a_description() -> None:
    """Editors show it where the operator writes."""
    parts = schema()["$defs"]
    bare = [
        f"{name}.{key}"
        for name, part in parts.items()
        for key, value in part["properties"].items()
        if "description" not in value and "description" not in parts.get(value.get("$ref", "").rpartition("/")[2], {})
    ]
    assert bare == []


def test_the_format_has_a_word_for_all_that_xlvs_can() -> None:
    """A scheduler or forwarding method that is added gets into the format, too."""
    assert set(sched.names()) <= set(get_args(SchedulerName))
    assert set(FORWARDS) == set(get_args(ForwardName))
