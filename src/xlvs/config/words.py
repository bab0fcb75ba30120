"""Scheduler flags in the words that a file has for them."""

from __future__ import annotations

from xlvs import sched


def options(scheduler: str, flags: frozenset[str]) -> list[str]:
    """Return the *flags* as options of this *scheduler*: ``mh-port``, else ``flag-3``."""
    words = {flag: word for word, flag in sched.get(scheduler).flags.items()} if scheduler in sched.names() else {}
    return [words.get(flag, flag) for flag in sorted(flags)]
