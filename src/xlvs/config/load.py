"""Configuration text to a `Document`, or to all that is wrong with it.

Two paths.  The fast one believes the file: typed conversion in C, then one
pass that fills in defaults.  If it stumbles anywhere, the slow one (`faults`)
reads again to find every fault and its place.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from xlvs.config.document import File
from xlvs.config.problems import ConfigError, Problem
from xlvs.config.reader import SyntaxFault, read_json, read_yaml
from xlvs.config.resolve import Resolver
from xlvs.model.service import Service


class Document(msgspec.Struct, frozen=True):
    """What a file asks for, defaults filled in.

    *interfaces*: None is auto, UNSET that the file does not say.  *timeouts* (seconds) and *sysctls* are
    those that it names.
    """

    interfaces: dict[str, str] | None | UnsetType = UNSET
    services: tuple[Service, ...] = ()
    timeouts: dict[str, int] = {}
    sysctls: dict[str, str] = {}


def load(text: str, *, filename: str, owner: str) -> Document:
    """Return what the configuration *text* asks for, everything in it *owner*'s; raises `ConfigError`.

    *filename* is for messages only.
    """
    text = text.removeprefix("\ufeff")
    value = read_json(text)
    if value is not None:
        document = _believe(value, owner)
        if document is not None:
            return document
    try:
        tree = read_yaml(text)
    except SyntaxFault as fault:
        raise ConfigError([Problem(filename, *fault.place, str(fault))]) from fault
    if tree.value is None:
        raise ConfigError([Problem(filename, 1, 1, "the file is empty; one without services says `services: []`")])
    if not tree.faults:
        document = _believe(tree.value, owner)
        if document is not None:
            return document
    # Its validator is not loaded before something is wrong.
    from xlvs.config import faults

    problems = faults.explain(tree, filename)
    if not problems:
        problems = [Problem(filename, 1, 1, _last_word(tree.value))]
    raise ConfigError(problems)


def _believe(value: Any, owner: str) -> Document | None:
    """Return the document that plain *value* is; None if anything is wrong with it."""
    try:
        file = msgspec.convert(value, File)
    except msgspec.ValidationError:
        return None
    resolver = Resolver(file.defaults, owner)
    services = resolver.services((i, entry, enumerate(entry.servers)) for i, entry in enumerate(file.services))
    timeouts, sysctls = resolver.timeouts(file.timeouts), resolver.sysctls(file.sysctls)
    if resolver.findings or resolver.repeats:
        return None
    interfaces = file.interfaces
    return Document(
        {**interfaces} if isinstance(interfaces, dict) else None if interfaces == "auto" else UNSET,
        services,
        timeouts,
        sysctls,
    )


def _last_word(value: Any) -> str:
    """Return what the typed conversion objects to, should the schema have let it pass."""
    try:
        msgspec.convert(value, File)
    except msgspec.ValidationError as err:
        return str(err)
    return "the file cannot be used"
