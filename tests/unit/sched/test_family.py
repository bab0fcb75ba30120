"""The family: what holds for every scheduler."""

from __future__ import annotations

import pytest

from tests.captures import later
from tests.unit.sched.service import CLIENT, VIRTUAL, entries, entry
from xlvs import sched
from xlvs.errors import InvalidError, UnknownSchedulerError

NAMES = sched.names()


@pytest.mark.parametrize("name", NAMES)
def test_table_has_the_promised_size(name: str) -> None:
    """A member has a table of so many entries as it says, or none and says 0."""
    table = sched.get(name).table(entries(1, 2, 3))
    assert (0 if table is None else len(table)) == sched.get(name).table_size


@pytest.mark.parametrize("name", NAMES)
def test_weight_zero_takes_no_new_flow(name: str) -> None:
    """Whatever the scheduler, a drained server is not chosen; dh, which seeks no other, refuses the flow."""
    model = sched.Model(name, frozenset({"flag-1"}))
    model.change([entry(1, 0, last_weight=5), entry(2, 1)])
    asks = [sched.Ask(later(CLIENT, i), 1024, virtual=later(VIRTUAL, i)) for i in range(32)]
    assert {model.choose(ask) for ask in asks} == ({2, None} if name == "dh" else {2})


@pytest.mark.parametrize("name", NAMES)
def test_an_overloaded_server_takes_no_new_flow(name: str) -> None:
    """Nor is one at its upper threshold, until that is over; and the scheduler then goes on."""
    loads = {1: sched.Load(0, 3, overloaded=True), 2: sched.Load(0, 90), 3: sched.Load(0, 3, overloaded=True)}
    model = sched.Model(name, frozenset({"flag-1"}))
    model.change(entries(3, 1, 2))
    asks = [sched.Ask(later(CLIENT, i), 1024, loads.__getitem__, later(VIRTUAL, i % 8)) for i in range(32)]
    assert {model.choose(ask) for ask in asks} == ({2, None} if name == "dh" else {2})
    loads[2] = sched.Load(0, 90, overloaded=True)
    assert {model.choose(ask) for ask in asks} == {None}
    loads |= {1: sched.Load(), 3: sched.Load()}
    assert {model.choose(ask) for ask in asks} - {1, 3} == ({None} if name == "dh" else set())


@pytest.mark.parametrize("name", NAMES)
def test_no_servers_no_choice(name: str) -> None:
    """A service without servers refuses every flow."""
    assert sched.Model(name).choose(sched.Ask(CLIENT, 1024)) is None


@pytest.mark.parametrize("name", NAMES)
def test_changing_to_the_scheduler_begins_like_a_new_service(name: str) -> None:
    """Nothing of another scheduler's state is needed."""
    assert sched.get(name).start([]).pos == sched.HEAD


def test_an_unknown_name_is_refused_with_a_hint() -> None:
    """The error names the scheduler that was probably meant."""
    with pytest.raises(UnknownSchedulerError, match="unknown scheduler 'wlcc' .did you mean 'wlc'"):
        sched.get("wlcc")
    with pytest.raises(UnknownSchedulerError, match="one of rr, wrr, lc, wlc, lblc, lblcr, dh, sh"):
        sched.get("nothing")


@pytest.mark.parametrize(
    ("name", "word", "flag"),
    [
        ("sh", "sh-fallback", "flag-1"),
        ("sh", "sh-port", "flag-2"),
        ("mh", "mh-port", "flag-2"),
        ("rr", "flag-3", "flag-3"),
    ],
)
def test_flags_by_word(name: str, word: str, flag: str) -> None:
    """A scheduler's own words stand for the kernel's three flags."""
    assert sched.flag(name, word) == flag


@pytest.mark.parametrize(("name", "word"), [("mh", "sh-port"), ("wlc", "mh-fallback"), ("sh", "flag-4")])
def test_a_flag_of_another_scheduler_is_refused(name: str, word: str) -> None:
    """A word that means nothing to this scheduler is an error, not ignored."""
    with pytest.raises(InvalidError, match=word):
        sched.flag(name, word)
