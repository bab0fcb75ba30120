"""mongodb: MongoDB says hello, lets us log in, and plays its role in the replica set.

The command ``hello`` (MongoDB manual, hello), of one server and not of its whole set.  A server on its own takes
writes, and counts as a primary.  By pymongo, which gives TLS the address for a name and knows no other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Answer, Failed, Target
from xlvs.health.parts import drivers
from xlvs.health.parts.login import Login
from xlvs.health.parts.tls import Tls


class Mongodb(Login, frozen=True, kw_only=True, tag="mongodb"):
    """MongoDB says hello."""

    database: Annotated[str, Meta(min_length=1, description="Where the user is defined.")] = "admin"
    role: Annotated[Literal["any", "primary", "secondary"], Meta(description="What it must be.")] = "any"
    tls: Annotated[
        Tls | None, Meta(description="Speak within TLS, and hold the certificate to this, but for sni and expires.")
    ] = None

    def validate(self) -> None:
        """See that the client can do what TLS is told; raises `InvalidError`."""
        super().validate()
        if self.user and not (self.password or self.password_file):
            raise InvalidError("a user of MongoDB needs a password or a password_file")
        if self.tls and (self.tls.sni or self.tls.expires or self.tls.key):
            raise InvalidError(
                "the client of MongoDB takes no sni, expires or key; put the key into the certificate's file"
            )

    def prepare(self) -> None:
        """See that the library is there, and the files can be read; raises `Unable`."""
        super().prepare()
        drivers.library("pymongo", "mongodb")
        if self.tls:
            self.tls.context()

    async def probe(self, target: Target) -> Answer | None:
        """Log in if there is a user, and ask."""
        from xlvs.health.parts import mongo

        with drivers.failures(*mongo.ERRORS):
            said = await mongo.hello(target, self.timeout_s, self._options())
        if self.role != "any":
            found = _role(said)
            if found != self.role:
                raise Failed(f"it is {found}, not {self.role}")
        return None

    def _options(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.user:
            found |= {"username": self.user, "password": self.secret(), "authSource": self.database}
        if self.tls:
            found |= {"tls": True, "tlsAllowInvalidCertificates": not self.tls.verify}
            found |= {"tlsCAFile": self.tls.ca} if self.tls.ca else {}
            found |= {"tlsCertificateKeyFile": self.tls.certificate} if self.tls.certificate else {}
        return found


def _role(said: dict[str, Any]) -> str:
    if said.get("isWritablePrimary"):
        return "primary"
    return "secondary" if said.get("secondary") else "neither primary nor secondary"


CHECK = Mongodb
