"""How the benchmarks turn figures of many rounds into a table."""

from __future__ import annotations

from bench._figures import Column, Row, as_json, table

SPEED = Column("speed", "km/h", bases=("foot",))


def rows() -> list[Row]:
    """Give out one way that is always twice as fast as the other, on a machine whose own speed changes."""
    found = [Row("foot"), Row("bicycle"), Row("balloon", why="none: no wind")]
    for round_speed in (1.0, 4.0, 8.0):
        found[0].add({"speed": round_speed})
        found[1].add({"speed": 2 * round_speed})
    return found


def test_a_ratio_is_taken_within_each_round() -> None:
    """A machine that is slower in one round than in another does not change the ratio."""
    foot, bicycle, _ = rows()
    bicycle.rounds["speed"][2] = 1.0
    assert bicycle.ratio("speed", foot) == 2.0


def test_a_way_that_cannot_be_had_shows_why() -> None:
    """A row without figures says why, and nothing is divided by it."""
    foot, bicycle, balloon = rows()
    lines = table([foot, bicycle, balloon], [SPEED], {"foot": "foot"}).splitlines()
    assert [line.split() for line in lines[2:4]] == [["foot", "4.0", "1.00"], ["bicycle", "8.0", "2.00"]]
    assert lines[4].split(None, 1) == ["balloon", "none: no wind"]
    assert foot.ratio("speed", balloon) is None


def test_the_columns_of_a_table_end_where_their_titles_end() -> None:
    """Every line of figures is as wide as the head, however long a title is."""
    wide = Column("speed", "kilometres per hour", bases=("foot",))
    head, *_, last = table(rows()[:2], [SPEED, wide], {"foot": "foot"}).splitlines()
    assert len(head) == len(last)


def test_json_holds_medians_ratios_and_rounds() -> None:
    """Programs get what people see, and every round besides."""
    assert as_json(rows()[1:], ["foot"])[0]["ratio"] == {}
    found = as_json(rows(), ["foot"])[1]
    assert found == {
        "name": "bicycle",
        "median": {"speed": 8.0},
        "ratio": {"foot": {"speed": 2.0}},
        "rounds": {"speed": [2.0, 8.0, 16.0]},
    }
