"""One network and one set of loaded programs for all packet tests of a process; every test finds the maps empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.packet.director import Director
from tests.packet.frames import Frame, differences
from tests.packet.network import Network


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """The network namespace."""
    network = Network.make()
    yield network
    network.close()


@pytest.fixture(scope="session")
def loaded_director(network: Network) -> Iterator[Director]:
    """The programs in the kernel."""
    with network.inside():
        director, loaded = Director.loaded()
    yield director
    loaded.close()


@pytest.fixture
def director(network: Network, loaded_director: Director) -> Iterator[Director]:
    """A director without services, in its network."""
    with network.inside():
        loaded_director.reset()
        yield loaded_director


@pytest.fixture(params=["tc", "xdp"])
def hook(request: pytest.FixtureRequest) -> str:
    """Both hooks."""
    return str(request.param)


@pytest.fixture(params=[4, 6], ids=["v4", "v6"])
def family(request: pytest.FixtureRequest) -> int:
    """Both families."""
    return int(request.param)


@pytest.fixture(params=["tcp", "udp"])
def protocol(request: pytest.FixtureRequest) -> str:
    """Both protocols."""
    return str(request.param)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show two frames that differ decoded, with the first differing field."""
    if op == "==" and isinstance(left, Frame) and isinstance(right, Frame):
        return list(differences(left, right))
    return None
