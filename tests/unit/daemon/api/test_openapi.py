"""The OpenAPI document: the one in docs/ is what the daemon serves, and says all there is to say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.unit.daemon.api.fake import FakeDirector
from xlvs.cli.client import Client
from xlvs.daemon.api import Watchers, make
from xlvs.daemon.api.app import describe

DOCUMENT = Path(__file__).parents[4] / "docs" / "openapi.json"


def document() -> dict[str, Any]:
    """Return what the API says of itself."""
    return describe(make(FakeDirector(), Watchers(1)))


def text() -> str:
    """Return the document as it is kept; this module run as a program writes it."""
    return json.dumps(document(), indent=1, sort_keys=True) + "\n"


def operations() -> dict[str, dict[str, Any]]:
    """Return the operations by name."""
    return {f"{m} {path}": op for path, item in document()["paths"].items() for m, op in item.items()}


def test_the_published_document_is_current() -> None:
    """If not: ``python -m tests.unit.daemon.api.test_openapi`` writes it anew."""
    assert DOCUMENT.read_text() == text()


def test_the_daemon_serves_it(client: Client) -> None:
    """At /openapi.json, as OpenAPI 3.1."""
    served = client.get("/openapi.json")
    assert served == json.loads(text())
    assert served["openapi"].startswith("3.1.")


def test_every_operation_is_described() -> None:
    """A summary, a description, and of every error the problem document it comes with."""
    for name, operation in operations().items():
        assert operation["summary"] and operation["description"].endswith("."), name
        assert all(p["description"].endswith((".", '".')) for p in operation.get("parameters", ())), name
        statuses = {int(status) for status in operation["responses"]}
        assert {400, 500} <= statuses and min(statuses) < 300, name
        for status, response in operation["responses"].items():
            if int(status) >= 400:
                problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
                assert response["content"] == {"application/problem+json": problem}, name


def test_every_write_has_condition_owner_and_dry_run() -> None:
    """Whatever it writes."""
    wanted = {"owner", "force", "dry-run", "If-Match"}
    for name, operation in operations().items():
        if not name.startswith("get "):
            assert wanted <= {p["name"] for p in operation["parameters"]}, name


if __name__ == "__main__":
    sys.stdout.write(f"{DOCUMENT}: {DOCUMENT.write_text(text())} characters\n")
