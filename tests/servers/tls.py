"""What every check with TLS must hold a certificate to."""

from __future__ import annotations

from typing import Any

from tests.servers.asking import UP, ask
from tests.servers.authority import NAME, Authority


def verified(kind: str, port: int, options: dict[str, Any], family: int, authority: Authority) -> None:
    """See that what TLS is told is held to."""
    trusted = {"verify": True, "ca": str(authority.ca)}
    assert ask(kind, port, options | {"tls": trusted}, family) == UP
    assert ask(kind, port, options | {"tls": trusted | {"sni": NAME, "expires": 90}}, family) == UP
    assert "certificate verify failed" in ask(kind, port, options | {"tls": {"verify": True}}, family)
    assert "Hostname mismatch" in ask(kind, port, options | {"tls": trusted | {"sni": "example.net"}}, family)
    late = ask(kind, port, options | {"tls": {"expires": 91}}, family)
    assert late == "its certificate ends in 90 days, and must be good for 91"
