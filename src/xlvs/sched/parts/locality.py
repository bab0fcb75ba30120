"""What lblc and lblcr share: servers remembered by virtual address (``bpf/sched/locality.h``)."""

from __future__ import annotations

from xlvs.sched.parts.family import Ask, Locality, Slots, State, View

DAY = 24 * 60 * 60
"""``XLVS_LOCALITY_S``."""

MOST = 16
"""``XLVS_LOCALITY_SERVERS``."""


def recall(view: View, ask: Ask) -> Locality | None:
    """Return what is remembered of the address, None if it was not used for a day."""
    known = view.localities.get(ask.virtual)
    if known is None or ask.now - known.used >= DAY:
        view.localities.pop(ask.virtual, None)
        return None
    known.used = ask.now
    return known


def is_strained(view: View, ask: Ask, number: int) -> bool:
    """Say whether the server has more active connections than its weight, and another less than half of its own."""
    strained = ask.load(number).active > dict(view.slots)[number]
    return strained and any(2 * ask.load(other).active < weight for other, weight in view.slots)


def carry(state: State, old: Slots, new: Slots) -> State:
    """Return the same: what is remembered goes by the servers' numbers, not by their places."""
    return state
