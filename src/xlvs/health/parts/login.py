"""A user and a password, for the kinds of checks that log in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from xlvs.errors import InvalidError
from xlvs.health.check import Check, Failed, Unable
from xlvs.health.parts.tls import Tls


def secret(text: str, file: str) -> str:
    """Return the secret that is given as text or is the first line of *file*; raises `OSError`."""
    if not file:
        return text
    return Path(file).read_text(errors="replace").partition("\n")[0].rstrip("\r")


def readable(file: str) -> None:
    """See that a secret can be read from *file*, if there is one; raises `Unable`."""
    try:
        secret("", file)
    except OSError as err:
        raise Unable(f"the file of a secret cannot be read: {err}") from err


class Login(Check, frozen=True, kw_only=True):
    """A check that may log in."""

    user: Annotated[str, Meta(description="Log in as this one; empty: do not log in.")] = ""
    password: Annotated[str, Meta(description="Of the user.")] = ""
    password_file: Annotated[str, Meta(description="File whose first line is the password, read at each probe.")] = ""

    def validate(self) -> None:
        """See that there is one password, and whose it is; raises `InvalidError`."""
        super().validate()
        if self.password and self.password_file:
            raise InvalidError("a check has a password or a password_file, not both")
        if (self.password or self.password_file) and not self.user:
            raise InvalidError("a password needs a user")
        if any(sign in self.user + self.password for sign in "\r\n\0"):
            raise InvalidError("a user and a password are one line each")

    def prepare(self) -> None:
        """See that the password can be read; raises `Unable`."""
        super().prepare()
        readable(self.password_file)

    def secret(self) -> str:
        """Return the password; raises `OSError`."""
        return secret(self.password, self.password_file)


class TlsLogin(Login, frozen=True, kw_only=True):
    """A check that may log in within TLS."""

    tls: Annotated[Tls, Meta(description="What the certificate must be, and which one we show.")] = Tls()

    def prepare(self) -> None:
        """See that the files can be read, too; raises `Unable`."""
        super().prepare()
        self.tls.context()


class StartTlsLogin(TlsLogin, frozen=True, kw_only=True):
    """A check whose conversation may go on within TLS."""

    starttls: Annotated[bool, Meta(description="Go on within TLS before logging in.")] = False


def refused(answer: str) -> Failed:
    """Return the failure of a login, with what the server said."""
    return Failed(f"it refuses the login: {answer}")
