"""Whether a server is up, as its answers say one after the other.  Pure: a value in, a value out."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """*up*: None until it is known.  *streak*: so many answers in a row say otherwise.  *since*: seconds of the epoch.

    *why* is the last failure, empty after a good answer; *weight* what the server asked for, None: nothing.
    """

    up: bool | None = None
    streak: int = 0
    since: float = 0.0
    why: str = ""
    weight: int | None = None

    def after(self, why: str, weight: int | None, now: float, *, rise: int, fall: int) -> Verdict:
        """Return the verdict after an answer at *now*; *why* it was no good one, empty: it was.

        The first good answer of a server that nothing is known of makes it up at once, as with keepalived; the first
        failure is one of `fall`.
        """
        good = not why
        if self.up is None and good:
            return Verdict(True, 0, now, "", weight)
        if self.up is good:
            return self._replace(streak=0, why=why, weight=weight if good else self.weight)
        streak = self.streak + 1
        if streak >= (rise if good else fall):
            return Verdict(good, 0, now, why, weight if good else None)
        return self._replace(streak=streak, why=why or self.why)


def together(verdicts: list[Verdict], *, alpha: bool) -> Verdict:
    """Return the verdict of several checks of one server: it is up if all are.

    Of a check that has not answered yet *alpha* says that it is not good, else it is.  The weight is the least one.
    """
    if not verdicts:
        return Verdict(True)
    down = [one for one in verdicts if one.up is False or (one.up is None and alpha)]
    weights = [one.weight for one in verdicts if one.weight is not None]
    known = all(one.up is not None for one in verdicts)
    since = max(one.since for one in down or verdicts)
    if down:
        why = next((one.why for one in down if one.why), "no answer yet")
        return Verdict(False if known or any(one.up is False for one in down) else None, 0, since, why)
    return Verdict(True if known else None, 0, since, "", min(weights) if weights else None)
