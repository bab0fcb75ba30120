"""What tests of checks share: an authority, and real servers that nobody breaks."""

from __future__ import annotations

import pytest

from tests.servers.authority import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give out an authority that signs what servers show."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def family(request: pytest.FixtureRequest) -> int:
    """Give out both families."""
    chosen: int = request.param
    return chosen
