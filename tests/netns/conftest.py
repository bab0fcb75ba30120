"""Laboratories for the netns tests: shared ones for tests that leave no trace, own ones for those that do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lab import Lab

WAYS = [(forward, hook) for forward in ("nat", "route", "ipip") for hook in ("tc", "xdp")]

FILE_SIZE = 64 << 20


@pytest.fixture(scope="session", params=WAYS, ids="-".join)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Give out a laboratory per forwarding method and hook, shared by all tests that only send traffic."""
    forward, hook = request.param
    with Lab(forward, hook, tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(params=WAYS, ids="-".join)
def own_lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """Give out a laboratory for one test alone, which may stop or kill its daemon."""
    forward, hook = request.param
    with Lab(forward, hook, tmp_path) as made:
        yield made


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> int:
    """Give out both families."""
    chosen: int = request.param
    return chosen


@pytest.fixture(scope="session")
def big_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give out 64 MiB that do not repeat, so that no byte can be in another's place unnoticed."""
    file = tmp_path_factory.mktemp("data") / "big"
    with file.open("wb") as out:
        for _ in range(FILE_SIZE >> 20):
            out.write(os.urandom(1 << 20))
    return file
