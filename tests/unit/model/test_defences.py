"""When automatic defences are in force."""

from __future__ import annotations

import pytest

from xlvs.model import defences


@pytest.mark.parametrize(
    ("threshold", "available", "rate"),
    [(1024, 1024, None), (1024, 1023, "1024"), (1024, 512, "2"), (1024, 0, "1"), (100, 40, "1"), (0, 0, None)],
)
def test_drop_packet_by_what_is_lacking(threshold: int, available: int, rate: str | None) -> None:
    """The less memory, the more are refused (update_defense_level)."""
    given = {"drop_packet": "1", "amemthresh": str(threshold), "am_droprate": "7"}
    found = defences.in_force(given, available)
    want = given if rate is None else {**given, "drop_packet": "2", "am_droprate": rate}
    assert found == want


def test_only_automatic_ones_change() -> None:
    """Those that are off, or always on, have nothing to do with memory."""
    given = {"drop_entry": "3", "drop_packet": "3", "am_droprate": "7", "secure_tcp": "1"}
    assert defences.in_force(given, 0) == {**given, "secure_tcp": "2"}
    assert defences.is_automatic(given)
    assert not defences.is_automatic({"drop_entry": "3"})
    assert defences.in_force({}, 0) == {}
