"""The user half of the schedulers, one module per name: what must be worked out before the kernel can choose.

A scheduler is a pair, ``bpf/sched/NAME.h`` and ``xlvs/sched/NAME.py``.  The
kernel half makes the choices.  The user half derives from a service's servers
what that needs: `Scheduler.parameters` of the weights, a `Scheduler.table` or a
`Scheduler.ring`, and the `State` to go on with when servers change
(`Scheduler.carry`) or the scheduler itself (`Scheduler.start`).
`Scheduler.choose` is the model: what the kernel half must answer, for tests and
for predicting.

Pure: nothing here knows maps or packets.  Servers are always in the order in
which they are walked, newest first.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace

from xlvs.errors import InvalidError, UnknownSchedulerError
from xlvs.sched import dh, fo, lblc, lblcr, lc, mh, nq, ovf, rr, sed, sh, twos, wlc, wrr
from xlvs.sched.mh import Filled, fill
from xlvs.sched.parts.family import (
    HEAD,
    NO_SERVER,
    Array,
    Ask,
    Entry,
    Fill,
    Load,
    Locality,
    Parameters,
    Slots,
    State,
    Table,
    View,
)
from xlvs.sched.parts.scheduler import Scheduler

__all__ = [
    "HEAD",
    "NO_SERVER",
    "Array",
    "Ask",
    "Entry",
    "Fill",
    "Filled",
    "Load",
    "Locality",
    "Model",
    "Parameters",
    "Scheduler",
    "Slots",
    "State",
    "Table",
    "View",
    "fill",
    "flag",
    "get",
    "names",
]

_MEMBERS: dict[str, Scheduler] = {
    "rr": rr.MEMBER,
    "wrr": wrr.MEMBER,
    "lc": lc.MEMBER,
    "wlc": wlc.MEMBER,
    "lblc": lblc.MEMBER,
    "lblcr": lblcr.MEMBER,
    "dh": dh.MEMBER,
    "sh": sh.MEMBER,
    "sed": sed.MEMBER,
    "nq": nq.MEMBER,
    "fo": fo.MEMBER,
    "ovf": ovf.MEMBER,
    "mh": mh.MEMBER,
    "twos": twos.MEMBER,
}
"""In the order of ipvsadm's help."""


def names() -> tuple[str, ...]:
    """Return the names of all schedulers."""
    return tuple(_MEMBERS)


def get(name: str) -> Scheduler:
    """Return the scheduler of this *name*; raises `UnknownSchedulerError`."""
    try:
        return _MEMBERS[name]
    except KeyError:
        near = difflib.get_close_matches(name, _MEMBERS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(_MEMBERS)}"
        raise UnknownSchedulerError(f"unknown scheduler {name!r} ({hint})") from None


def flag(scheduler: str, word: str) -> str:
    """Return the flag, ``flag-1`` to ``flag-3``, that *word* means to *scheduler*; raises `InvalidError`."""
    if word in ("flag-1", "flag-2", "flag-3"):
        return word
    try:
        return get(scheduler).flags[word]
    except KeyError:
        raise InvalidError(f"the scheduler {scheduler} has no flag {word!r}") from None


class Model:
    """A service that is balanced in memory: the packet model's answer to which server comes next."""

    def __init__(self, scheduler: str, flags: frozenset[str] = frozenset(), table: int = 0) -> None:
        member = get(scheduler)
        self._member = member
        self._table = table
        self._view = View((), member.start([]), flags, member.parameters([]), member.table([], size=table))

    def change(self, servers: Sequence[Entry]) -> None:
        """Replace the servers, newest first, as one edit of the service does."""
        slots = [(server.number, server.weight) for server in servers]
        self._view = replace(
            self._view,
            slots=slots,
            state=self._member.carry(self._view.state, self._view.slots, slots),
            parameters=self._member.parameters([weight for _, weight in slots]),
            table=self._member.table(servers, size=self._table),
        )

    def choose(self, ask: Ask) -> int | None:
        """Return the number of the server for a new flow, or None."""
        number, state = self._member.choose(self._view, ask)
        self._view = replace(self._view, state=state)
        return number
