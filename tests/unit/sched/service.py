"""Services and servers for the tests of the schedulers, in one line each."""

from __future__ import annotations

from collections.abc import Sequence

from tests.captures import later
from xlvs import sched
from xlvs.model import Address

CLIENT = Address.parse("198.51.100.7")
VIRTUAL = Address.parse("192.0.2.1")


def entry(number: int, weight: int, last_weight: int | None = None) -> sched.Entry:
    """Return server *number* at 10.0.0.number:80."""
    address = later(Address.parse("10.0.0.0"), number)
    return sched.Entry(number, address, 80, weight, weight if last_weight is None else last_weight)


def entries(*weights: int) -> list[sched.Entry]:
    """Return servers 1, 2, 3 ... of these weights, newest first."""
    return [entry(number, weight) for number, weight in enumerate(weights, 1)]


def slots(*weights: int) -> list[tuple[int, int]]:
    """Return the slots of the same servers."""
    return list(enumerate(weights, 1))


def choices(model: sched.Model, count: int) -> list[int | None]:
    """Ask *count* times, always for the same client."""
    return [model.choose(sched.Ask(CLIENT, 1024)) for _ in range(count)]


def model(scheduler: str, servers: Sequence[sched.Entry], *flags: str) -> sched.Model:
    """Return a service whose servers all came with one edit."""
    found = sched.Model(scheduler, frozenset(sched.flag(scheduler, flag) for flag in flags))
    found.change(servers)
    return found
