"""The kinds of checks by their names, each loaded when it is first asked for."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from xlvs.errors import InvalidError
from xlvs.health import kinds
from xlvs.health.check import Check


@cache
def names() -> tuple[str, ...]:
    """Return the names of all kinds, sorted."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(kinds.__path__) if not found.ispkg))


@cache
def get(name: str) -> type[Check]:
    """Return the kind of this name; raises `InvalidError`."""
    if name not in names():
        near = difflib.get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]!r}?" if near else f"one of {', '.join(names())}"
        raise InvalidError(f"there is no health check {name!r} ({hint})")
    module = importlib.import_module(f"{kinds.__name__}.{name}")
    found: type[Check] = module.CHECK
    return found


def parse(given: Mapping[str, Any]) -> Check:
    """Return the check that plain values say, as a file has them; raises `InvalidError`."""
    name = given.get("type")
    if not isinstance(name, str):
        raise InvalidError(f"a health check lacks its type (one of {', '.join(names())})")
    kind = get(name)
    for key in given:
        if key != "type" and key not in kind.__struct_fields__:
            near = difflib.get_close_matches(key, kind.__struct_fields__, 1)
            raise InvalidError(
                f"the health check {name} has no {key!r}{f' (did you mean {near[0]!r}?)' if near else ''}"
            )
    try:
        return msgspec.convert(dict(given), kind)
    except msgspec.ValidationError as err:
        raise InvalidError(f"the health check {name}: {err}") from err
