"""Whatever a file holds, it is read or refused with its places, and nothing else happens."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from xlvs.config import ConfigError, load

WORDS = [
    *("interfaces", "defaults", "services", "name", "listen", "address", "port", "protocol", "mark", "device"),
    *("scheduler", "options", "mh-port", "flag-1", "persistence", "timeout", "netmask", "servers", "weight", "forward"),
    *("upper", "lower", "auto", "xdp", "tcp", "udp", "sctp", "mh", "sed", "nat", "ipip", "192.0.2.1", "2001:db8::1"),
    *("10.0.0.1/8", "300s", "<<", "", "x", "yes", "80"),
]

words = st.one_of(st.sampled_from(WORDS), st.text(max_size=5))
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words, st.sampled_from([0, 1, 80, 300, 70000])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=6)),
    max_leaves=25,
)
listens = st.fixed_dictionaries({"address": st.just("192.0.2.1"), "port": st.sampled_from([80, 81, "80"])})
entries = st.fixed_dictionaries(
    {"listen": st.one_of(listens, values)}, optional={word: values for word in WORDS[3:20] if word != "listen"}
)
near = st.fixed_dictionaries(
    {"services": st.lists(st.one_of(values, entries), max_size=3)},
    optional={"interfaces": values, "defaults": values, "x": values},
)
PIECES = [*WORDS, ": ", "- ", "\n", "\n  ", "{", "}", "[", "]", ", ", "&a ", "*a", "? ", "!!x "]


def read(text: str) -> None:
    """Load *text*; a refusal must name at least one place in it."""
    try:
        load(text, filename="f", owner="o")
    except ConfigError as err:
        assert err.problems
        assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in err.problems)


@given(st.one_of(values, near))
def test_any_json(value: object) -> None:
    """Trees of words that the format knows and others."""
    read(json.dumps(value))


@given(st.one_of(values, near))
def test_any_yaml(value: object) -> None:
    """The same as YAML."""
    with contextlib.suppress(yaml.YAMLError, UnicodeEncodeError):
        read(yaml.safe_dump(value))


@given(st.text())
def test_any_text(text: str) -> None:
    """Also what is neither."""
    read(text)


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_pieces_of_yaml(pieces: list[str]) -> None:
    """Broken YAML, anchors and aliases at odd places."""
    read("".join(pieces))
