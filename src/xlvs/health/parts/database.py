"""A login to a database and a question in SQL: what mysql, postgres and oracle share."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Failed
from xlvs.health.parts import drivers
from xlvs.health.parts.login import Login
from xlvs.health.parts.tls import Tls


class Database(Login, frozen=True, kw_only=True):
    """A login, and a query whose first value is known."""

    query: Annotated[str, Meta(description="What is asked after the login; empty: nothing.")] = ""
    expect: Annotated[
        str | int | float | None, Meta(description="The first value of the first row; null: it does not matter.")
    ] = None
    tls: Annotated[Tls | None, Meta(description="Speak within TLS, and hold the certificate to this.")] = None

    def validate(self) -> None:
        """See that there is a user, and something to compare with; raises `InvalidError`."""
        super().validate()
        if not self.user:
            raise InvalidError("a database wants a user")
        if self.expect is not None and not self.query:
            raise InvalidError("an expect needs a query")

    def prepare(self) -> None:
        """See that the files can be read; raises `Unable`."""
        super().prepare()
        if self.tls:
            drivers.context(self.tls)

    def judge(self, row: Any) -> None:
        """See that the answer's first row is right; raises `Failed`."""
        if self.expect is None:
            return
        if not row:
            raise Failed(f"the query found nothing, not {plain(self.expect)!r}")
        if (found := plain(row[0])) != plain(self.expect):
            raise Failed(f"the query found {found[:80]!r}, not {plain(self.expect)!r}")


def plain(value: object) -> str:
    """Return a value as an operator writes it."""
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
