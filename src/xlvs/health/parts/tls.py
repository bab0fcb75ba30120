"""TLS for probes: what is verified, by which authorities, and how long the certificate must last."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from xlvs.health.check import Failed, Target, Unable
from xlvs.health.parts import net

DAY_S = 86400

AnyContext = TypeVar("AnyContext", bound=ssl.SSLContext)


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a kind speaks TLS."""

    sni: Annotated[str, Meta(description="The server name asked for, and verified; empty: the address.")] = ""
    verify: Annotated[bool, Meta(description="The certificate must be one for `sni`, by a trusted authority.")] = False
    ca: Annotated[str, Meta(description="File with the authorities that are trusted; empty: those of the system.")] = ""
    certificate: Annotated[str, Meta(description="File with a certificate of our own, for servers that ask.")] = ""
    key: Annotated[str, Meta(description="File with its key; empty: the same file.")] = ""
    expires: Annotated[
        int, Meta(ge=0, description="The certificate must be good for so many days yet; 0: it is not looked at.")
    ] = 0

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Return the context for connections that speak one of *protocols* (ALPN); raises `Unable`."""
        return _context(self.verify, self.ca, self.certificate, self.key, protocols)

    def make(self, kind: type[AnyContext], *protocols: str) -> AnyContext:
        """Return a context of this *kind*; raises `Unable`."""
        return _made(kind, self.verify, self.ca, self.certificate, self.key, protocols)

    @contextlib.asynccontextmanager
    async def stream(self, target: Target) -> AsyncIterator[net.Lines]:
        """Give a connection that is within TLS from its first byte; raises `Failed` or `OSError`."""
        async with net.stream(target, self.context(), self.sni) as stream:
            self.look_at(stream.writer.get_extra_info("ssl_object"))
            yield stream

    async def start(self, stream: net.Lines, target: Target) -> None:
        """Go on within TLS on a connection that was plain so far; raises `Failed` or `OSError`."""
        await stream.start_tls(self.context(), self.sni or target.address)
        self.look_at(stream.writer.get_extra_info("ssl_object"))

    def look_at(self, connection: ssl.SSLObject) -> None:
        """See that the server's certificate lasts; raises `Failed`."""
        if not self.expires:
            return
        raw = connection.getpeercert(binary_form=True)
        left = _expiry(raw) - time.time() if raw else 0
        if left < self.expires * DAY_S:
            days = int(left // DAY_S)
            when = f"ended {-days} days ago" if left < 0 else f"ends in {days} days"
            raise Failed(f"its certificate {when}, and must be good for {self.expires}")


@lru_cache(64)
def _context(verify: bool, ca: str, certificate: str, key: str, protocols: tuple[str, ...]) -> ssl.SSLContext:
    return _made(ssl.SSLContext, verify, ca, certificate, key, protocols)


def _made(
    kind: type[AnyContext], verify: bool, ca: str, certificate: str, key: str, protocols: tuple[str, ...]
) -> AnyContext:
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca:
            context.load_verify_locations(ca)
        else:
            context.load_default_certs()
        if certificate:
            context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as err:
        raise Unable(f"the TLS files of a check cannot be used: {err}; see its ca, certificate and key") from err
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _expiry(der: bytes) -> float:
    """Return when the certificate ends, in seconds of the epoch (RFC 5280 §4.1.2.5)."""
    # The ssl module decodes a certificate's fields only if it verified it, or from a file.
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(ssl.DER_cert_to_PEM_cert(der))
        file.flush()
        decoded = ssl._ssl._test_decode_cert(file.name)  # type: ignore[attr-defined]
    return ssl.cert_time_to_seconds(decoded["notAfter"])
