"""From the `health` of an entry to the model's values; what a check says is read by its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import UnsetType
from msgspec.structs import asdict

from xlvs.config.document import HealthEntry, NotifyEntry, ServerHealthEntry, ServerNotifyEntry
from xlvs.config.problems import Path
from xlvs.errors import InvalidError
from xlvs.model.health import Health, Notify, PlainCheck, ServerHealth


class HealthResolver:
    """Tells *note* of every fault with its place."""

    def __init__(self, note: Callable[[Path, str], None]) -> None:
        self._note = note

    def of_service(self, path: Path, entry: HealthEntry | UnsetType) -> Health | None:
        """Return what the entry of a service says, None if it has none."""
        if isinstance(entry, UnsetType):
            return None
        from xlvs.health import seconds

        checks = self._checks(path, entry.checks)
        try:
            return Health(
                checks,
                entry.alpha,
                entry.omega,
                entry.quorum,
                entry.hysteresis,
                entry.inhibit,
                seconds(entry.slow_start) if entry.slow_start else 0,
                _notify(entry.notify) or Notify(),
                entry.maintenance,
            )
        except InvalidError as err:
            self._note(path, str(err))
            return None

    def of_server(self, path: Path, entry: ServerHealthEntry | UnsetType) -> ServerHealth | None:
        """Return what the entry of a server says, None if it has none."""
        if isinstance(entry, UnsetType):
            return None
        return ServerHealth(
            None if isinstance(entry.checks, UnsetType) else self._checks(path, entry.checks),
            None if isinstance(entry.alpha, UnsetType) else entry.alpha,
            None if isinstance(entry.inhibit, UnsetType) else entry.inhibit,
            _notify(entry.notify),
        )

    def _checks(self, path: Path, entries: Iterable[dict[str, Any]]) -> tuple[PlainCheck, ...]:
        from xlvs import health

        found = []
        for i, entry in enumerate(entries):
            try:
                found.append(health.parse(entry).plain())
            except InvalidError as err:
                self._note((*path, "checks", i), str(err))
        return tuple(found)


def _notify(entry: NotifyEntry | ServerNotifyEntry | UnsetType) -> Notify | None:
    return None if isinstance(entry, UnsetType) else Notify(**asdict(entry))
