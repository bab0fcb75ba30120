"""lblcr: locality-based least connections with replication, the user half.

The kernel half remembers a set of servers for each virtual address, takes the
least loaded of them, and adds the one that wlc would take when that is
strained.  A set of several that did not change for a day gives up the most
loaded one (ip_vs_lblcr.c).
"""

from __future__ import annotations

from fractions import Fraction

from xlvs.sched import wlc
from xlvs.sched.parts.family import Ask, Locality, State, View
from xlvs.sched.parts.locality import DAY, MOST, carry, is_strained, recall
from xlvs.sched.parts.scheduler import Scheduler


def choose(view: View, ask: Ask) -> tuple[int | None, State]:
    """Return the least loaded server of this address, or one more."""
    known, usable = recall(view, ask), dict(view.open(ask))
    if known:
        members = [(number, usable[number]) for number in reversed(known.servers) if number in usable]
        least = min(members, key=lambda slot: Fraction(ask.load(slot[0]).overhead, slot[1]), default=None)
        if len(known.servers) > 1 and ask.now - known.changed > DAY:
            known.servers.remove(_dispensable(view, ask, known))
            known.changed = ask.now
        if least and not is_strained(view, ask, least[0]):
            return least[0], view.state
    chosen, state = wlc.choose(view, ask)
    if chosen is not None:
        _remember(view, ask, known, chosen)
    return chosen, state


def _remember(view: View, ask: Ask, known: Locality | None, number: int) -> None:
    """Add the server to the set, in place of another one if that is full."""
    if known is None:
        view.localities[ask.virtual] = Locality([number], ask.now, ask.now)
    elif number not in known.servers:
        if len(known.servers) < MOST:
            known.servers.append(number)
        else:
            known.servers[known.servers.index(_dispensable(view, ask, known))] = number
        known.changed = ask.now


def _dispensable(view: View, ask: Ask, known: Locality) -> int:
    """Return the first member that the service has no more, or else the most loaded one with a weight."""
    weights = dict(view.slots)
    if gone := [number for number in known.servers if number not in weights]:
        return gone[0]
    members = [number for number in reversed(known.servers) if weights[number]] or known.servers[:1]
    return max(members, key=lambda number: Fraction(ask.load(number).overhead, weights[number] or 1))


MEMBER = Scheduler(choose=choose, carry=carry)
