"""The check of Oracle: the real driver, against a stand-in for the listener.

Oracle Database cannot be had here, and the login of its protocol is not public: no good answer is seen, only that the
driver gets as far as the listener, with TLS and without, and that every failure is told and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import oracle_listener
from tests.servers.asking import HASTY_S, PATIENT_S, TIMED_OUT, ask, opened, verdict
from tests.servers.authority import NAME, Authority
from tests.servers.databases import ANN, REFUSED
from tests.servers.server import LOOPBACK, Server
from xlvs.health import Target, parse

SHOP = ANN | {"service": "shop"}
REFUSAL = 'DPY-6001: Service "shop" is not registered with the listener'


def oracle(certificate: Path) -> Server:
    """Return a listener."""
    server = Server("main", "tls")
    ports = [str(port) for port in server.ports.values()]
    server.argv = [sys.executable, str(Path(oracle_listener.__file__)), *ports, str(certificate)]
    return server


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Server]:
    """Give out a listener."""
    with oracle(authority.certificate()) as made:
        yield made


def ask_tls(server: Server, family: int, **tls: Any) -> str:
    """Ask within TLS, and wait until the driver has taken leave: of TLS it does so in the background."""
    check = parse({"type": "oracle", "tls": tls, "timeout": PATIENT_S, "interval": PATIENT_S, **SHOP})

    async def probe() -> str:
        before = opened()
        found = await verdict(check, Target(LOOPBACK[family], server.ports["tls"]))
        async with asyncio.timeout(PATIENT_S):
            while opened() - before:
                await asyncio.sleep(0)
        return found

    return asyncio.run(probe())


def test_a_refusal_is_told(server: Server, family: int) -> None:
    """What the listener says is the reason of the failure."""
    assert ask("oracle", server.ports["main"], SHOP, family).startswith(REFUSAL)
    assert ask("oracle", server.ports["main"], ANN | {"sid": "shop"}, family).startswith("DPY-")


def test_tls_is_verified(server: Server, authority: Authority, family: int) -> None:
    """A certificate by our authority for the address or the name is good; another authority or name is not."""
    trusted = {"verify": True, "ca": str(authority.ca)}
    assert ask_tls(server, family).startswith(REFUSAL)
    assert ask_tls(server, family, **trusted).startswith(REFUSAL)
    assert ask_tls(server, family, **trusted, sni=NAME, expires=90).startswith(REFUSAL)
    assert "certificate verify failed" in ask_tls(server, family, verify=True)
    assert "Hostname mismatch" in ask_tls(server, family, **trusted, sni="example.net")
    assert ask_tls(server, family, expires=91) == "its certificate ends in 90 days, and must be good for 91"


def test_tls_for_another_address(authority: Authority, family: int) -> None:
    """Without a name the certificate must be for the address."""
    with oracle(authority.certificate(loopback=False)) as server:
        assert "IP address mismatch" in ask_tls(server, family, verify=True, ca=str(authority.ca))


def test_a_listener_hangs_dies_and_is_back(authority: Authority, family: int) -> None:
    """It refuses us, is silent, refuses us again, is gone, and is back."""
    with oracle(authority.certificate()) as server:
        port = server.ports["main"]
        assert ask("oracle", port, SHOP, family).startswith(REFUSAL)
        server.pause()
        assert ask("oracle", port, SHOP, family, HASTY_S) == TIMED_OUT
        assert ask("oracle", server.ports["tls"], SHOP | {"tls": {}}, family, HASTY_S) == TIMED_OUT
        server.resume()
        assert ask("oracle", port, SHOP, family).startswith(REFUSAL)
        server.kill()
        assert REFUSED in ask("oracle", port, SHOP, family)
        server.start()
        assert ask("oracle", port, SHOP, family).startswith(REFUSAL)
