"""Counters and rates as users see them."""

from __future__ import annotations

import numpy as np

from xlvs.daemon.stats import CALM_S, SAMPLE_S, Counters, Fullness, named


def raw(*conns: int) -> np.ndarray:
    """Return counters of which only connections and bytes in (1000 each) have counted."""
    return np.array([[n, 0, 0, 1000 * n, 0] for n in conns], np.int64)


def test_a_zeroed_number_counts_from_there() -> None:
    """Only what came after zeroing is shown, and only of the number that was zeroed."""
    counters = Counters(4)
    assert counters.zero(np.array([0, 1], np.uint32), raw(7, 0)) == {0: (7, 0, 0, 7000, 0)}
    assert counters.counts(raw(9, 5)) == [[2, 0, 0, 2000, 0], [5, 0, 0, 5000, 0]]


def test_zeroing_forgets_the_rate() -> None:
    """Of the number that was zeroed, and what it had counted by then is no burst afterwards."""
    counters = Counters(2)
    counters.sample(raw(800, 800), SAMPLE_S)
    counters.zero(np.array([0], np.uint32), raw(1600))
    assert counters.rates(2) == [[0, 0, 0, 0, 0], [100, 0, 0, 100_000, 0]]
    counters.sample(raw(1600, 1600), SAMPLE_S)
    assert counters.rates(2)[0] == [0, 0, 0, 0, 0]


def test_a_baseline_of_before_a_restart_is_taken_off() -> None:
    """Counters in the maps go on from where they were; nobody sees less than nothing."""
    counters = Counters(2)
    counters.set_baseline(1, [5, 0, 0, 6000, 0])
    assert counters.counts(raw(7, 7)) == [[7, 0, 0, 7000, 0], [2, 0, 0, 1000, 0]]
    assert counters.counts(raw(7, 4)) == [[7, 0, 0, 7000, 0], [0, 0, 0, 0, 0]]


def test_rates_are_computed_in_the_kernels_fixed_point() -> None:
    """Bit by bit what ip_vs_est.c does: 10 bits behind the point, of bytes 5, rounded when they are read."""
    rng = np.random.default_rng(5)
    counters, total, estimates = Counters(3), np.zeros((3, 5), np.int64), [[0] * 5 for _ in range(3)]
    for _ in range(200):
        new = rng.integers(0, rng.choice([2, 5, 40, 9000]), (3, 5))
        total += new
        counters.sample(total, SAMPLE_S)
        for row, added in zip(estimates, new.tolist(), strict=True):
            for field, count in enumerate(added):
                rate = count << (9 if field < 3 else 4)
                row[field] += (rate - row[field]) >> 2
        expected = [
            [(e + (0x1FF if f < 3 else 0xF)) >> (10 if f < 3 else 5) for f, e in enumerate(r)] for r in estimates
        ]
        assert counters.rates(3) == expected


def test_two_samples_at_one_moment_are_one() -> None:
    """No time has passed, so there is no rate to be computed; the next sample has it all."""
    counters = Counters(1)
    counters.sample(raw(100), 0)
    assert counters.rates(1)[0][0] == 0
    counters.sample(raw(200), SAMPLE_S)
    assert counters.rates(1)[0][0] == 25


def test_counters_have_the_names_of_the_api() -> None:
    """In the order in which the maps hold them."""
    assert named([1, 2, 3, 4, 5]) == {"conns": 1, "in_pkts": 2, "out_pkts": 3, "in_bytes": 4, "out_bytes": 5}


def test_rates_move_a_quarter_of_the_way_per_sample() -> None:
    """100 connections per second are estimated as 25, 44, 58 and in the end 100 (ip_vs_est.c)."""
    counters = Counters(1)
    seen = []
    for step in range(1, 60):
        counters.sample(raw(200 * step), SAMPLE_S)
        seen.append(counters.rates(1)[0])
    assert [rates[0] for rates in seen[:3]] == [25, 44, 58]
    assert seen[-1] == [100, 0, 0, 100_000, 0]


def test_rates_fall_to_zero() -> None:
    """Without new packets the rate is forgotten."""
    counters = Counters(1)
    counters.sample(raw(2000), SAMPLE_S)
    for _ in range(60):
        counters.sample(raw(2000), SAMPLE_S)
    assert counters.rates(1) == [[0, 0, 0, 0, 0]]


def test_a_late_sample_is_not_a_burst() -> None:
    """A sample that comes after twice the time counts half as much per second."""
    counters = Counters(1)
    counters.sample(raw(400), 2 * SAMPLE_S)
    assert counters.rates(1)[0][0] == 25


def test_counters_found_at_the_start_are_no_rate() -> None:
    """What was counted before this daemon started is no burst of its first two seconds."""
    counters = Counters(1)
    counters.begin(raw(1_000_000))
    counters.sample(raw(1_000_000), SAMPLE_S)
    assert counters.rates(1) == [[0, 0, 0, 0, 0]]
    assert counters.counts(raw(1_000_000))[0][0] == 1_000_000


def test_one_number_is_read_as_in_the_whole_table() -> None:
    """What is shown of one service is what the list of all shows."""
    counters = Counters(2)
    counters.set_baseline(1, raw(7)[0])
    counters.sample(raw(400, 800), SAMPLE_S)
    now = raw(400, 800)
    assert counters.one(1, now[1]) == (counters.counts(now)[1], counters.rates(2)[1])


def test_a_table_is_full_from_the_first_flow_without_room_until_there_was_none_for_a_while() -> None:
    """What was counted before the start says nothing, and another one in between makes it last."""
    table = Fullness(7)
    seen = []
    steps = [(7, 1), (9, 2), (9, 2 + CALM_S / 2), (10, 60), (10, 59 + CALM_S), (10, 60 + CALM_S), (10, 999), (11, 1000)]
    for count, now_s in steps:
        table.look(count, now_s)
        seen.append((table.full, table.turned_away))
    assert seen == [
        (False, 0), (True, 2), (True, 2), (True, 3), (True, 3), (False, 3), (False, 3), (True, 1)
    ]  # fmt: skip


def test_a_full_table_is_told_of_in_a_sentence_with_the_way_out() -> None:
    """What is full, what becomes of known and of new flows, and which option makes it larger."""
    sentence = Fullness.sentence({4: 1000, 6: 500})
    for words in ("1000 flows of IPv4 and 500 of IPv6", "known flows go on", "new ones get a server", "--flows"):
        assert words in sentence
    assert "\n" not in sentence and not sentence.endswith(".")
