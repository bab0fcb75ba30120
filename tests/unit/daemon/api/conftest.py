"""A running API over a director in memory, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.daemon.api.fake import FakeDirector, FakeEngine, Running
from xlvs.cli.client import Client


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The API on a real socket, for all tests that leave it as it is."""
    with Running(tmp_path_factory.mktemp("api") / "s", FakeDirector()) as found:
        yield found


@pytest.fixture
def director(running: Running) -> FakeDirector:
    """Its director, which has nothing yet."""
    running.director.engine = FakeEngine()
    running.director.told.clear()
    return running.director


@pytest.fixture
def client(running: Running, director: FakeDirector) -> Iterator[Client]:
    """A client of it."""
    with Client(str(running.path)) as found:
        yield found
