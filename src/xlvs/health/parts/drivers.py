"""What clients of databases need: their library, TLS as a check wants it, and errors in one sentence."""

from __future__ import annotations

import contextlib
import importlib
import ssl
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from xlvs.health.check import Failed, Unable
from xlvs.health.parts.tls import Tls

_LONGEST = 200


def library(module: str, kind: str, extra: str = "") -> Any:
    """Return a library that is loaded when it is first needed; raises `Unable`."""
    try:
        return importlib.import_module(module)
    except ImportError as err:
        package = module.partition(".")[0]
        raise Unable(f"the check {kind} needs the package {package}; install xlvs[{extra or kind}]") from err


def sentence(err: Exception) -> str:
    """Return the first line of what a library says."""
    texts = [str(part) for part in err.args if not isinstance(part, int)]
    text = (texts[0] if texts else str(err)) or type(err).__name__
    return text.strip().partition("\n")[0][:_LONGEST]


@contextlib.contextmanager
def failures(*errors: type[Exception], say: Callable[[Exception], str] = sentence) -> Iterator[None]:
    """Turn errors of a library into `Failed`, or into the `Failed` or `OSError` that is behind them."""
    try:
        yield
    except errors as err:
        cause: BaseException | None = err
        while cause is not None and not isinstance(cause, (Failed, OSError)):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:
            raise cause from None
        raise Failed(say(err)) from err


class Expired(Failed, ssl.SSLError):
    """A certificate does not last; libraries let pass what looks like any failure of TLS."""

    def __str__(self) -> str:
        return str(self.args[0])


class _Connection(ssl.SSLObject):
    def do_handshake(self) -> None:
        super().do_handshake()
        context = self.context
        assert isinstance(context, Context)
        try:
            context.tls.look_at(self)
        except Failed as err:
            raise Expired(str(err)) from None


class Context(ssl.SSLContext):
    """A context for libraries that give it no name to verify but the address: it knows the name, and looks itself."""

    tls: Tls
    sslobject_class = _Connection

    def wrap_bio(  # type: ignore[override]
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Begin a connection, to `sni` if there is one."""
        self.check_hostname = self.tls.verify  # oracledb takes it away, to compare names itself or not at all
        return super().wrap_bio(incoming, outgoing, server_side, self.tls.sni or server_hostname, session)


@lru_cache(1024)
def context(tls: Tls, *protocols: str) -> Context:
    """Return the context for a library's connections; raises `Unable`."""
    found = tls.make(Context, *protocols)
    found.tls = tls
    return found
