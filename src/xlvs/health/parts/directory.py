"""What is asked of a directory, and what its answer must be: what ldap and ldaps share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Failed, Unable
from xlvs.health.parts import ldap
from xlvs.health.parts.login import Login
from xlvs.health.parts.request import expression
from xlvs.health.parts.tls import Tls

_SCOPES = {"base": "BASE", "one": "LEVEL", "sub": "SUBTREE"}


class Directory(Login, frozen=True, kw_only=True):
    """A bind, and a search if there is a base or a filter.  The user is a distinguished name."""

    base: Annotated[str, Meta(description="Where a search begins; empty: at the root.")] = ""
    filter: Annotated[str, Meta(description="What is searched, as (uid=ann); empty: no search without `base`.")] = ""
    scope: Annotated[Literal["base", "one", "sub"], Meta(description="How deep is searched.")] = "base"
    expect: Annotated[
        dict[str, str], Meta(description="Attributes of an entry that is found, each with a regular expression.")
    ] = {}
    tls: Annotated[Tls, Meta(description="What the certificate must be, and which one we show.")] = Tls()

    @property
    def searches(self) -> bool:
        """Whether there is a search."""
        return bool(self.base or self.filter or self.expect)

    def validate(self) -> None:
        """See that expressions can be read; raises `InvalidError`."""
        super().validate()
        if self.user and not (self.password or self.password_file):
            # RFC 4513 §5.1.2: a server answers well to a name without a password, whoever it is.
            raise InvalidError("a user without a password is not looked at by LDAP; give both, or neither")
        for text in self.expect.values():
            expression(text)

    def prepare(self) -> None:
        """See that the library is there, and the filter can be read; raises `Unable`."""
        super().prepare()
        self.tls.context()
        errors = ldap.library().core.exceptions
        try:
            ldap.search_request(self.base, self._filter, _SCOPES[self.scope], [*self.expect])
        except errors.LDAPExceptionError as err:
            raise Unable(f"the filter {self.filter!r} of a check cannot be used: {err}") from err

    async def converse(self, session: ldap.Session) -> None:
        """Bind, search and leave; raises `Failed`."""
        await session.bind(self.user, self.secret())
        if self.searches:
            scope = _SCOPES[self.scope]
            self.judge(await session.search(self.base, self._filter, scope, [*self.expect] or ["1.1"]))
        await session.unbind()

    def judge(self, entries: list[dict[str, list[str]]]) -> None:
        """See that an entry is as it should be; raises `Failed`."""
        if not entries:
            raise Failed("the search finds nothing")
        if not any(self._fits(entry) for entry in entries):
            wanted = ", ".join(f"{name} {text!r}" for name, text in self.expect.items())
            raise Failed(f"no entry that is found has {wanted}")

    def _fits(self, entry: dict[str, list[str]]) -> bool:
        return all(
            any(expression(text).search(value) for value in entry.get(name.lower(), []))
            for name, text in self.expect.items()
        )

    @property
    def _filter(self) -> str:
        return self.filter or "(objectClass=*)"
