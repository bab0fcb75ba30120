"""The second look at a file in which something is wrong: every fault in it, each at its place, in a sentence.

Slow and thorough.  The schema's validator finds wrong keys, types and limits; what
it objects to is cut out, and the rest is resolved to find what makes no sense
together.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import msgspec
from msgspec import UNSET

from xlvs.config.document import Defaults, Options, ServerEntry, ServiceEntry, TimeoutsEntry
from xlvs.config.problems import Finding, Path, Problem, dotted, suggestion
from xlvs.config.reader import Tree
from xlvs.config.resolve import Entry, Resolver
from xlvs.config.schema import schema

_GONE = object()
_MISSING = "there is no key"

_TYPES = {
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
    "object": "a mapping (key: value)",
    "array": "a list",
}

_SYNONYMS = {
    "masq": "nat", "masquerading": "nat", "dnat": "nat", "gate": "route", "dr": "route", "direct": "route",
    "dsr": "route", "tun": "ipip", "tunnel": "ipip",
    "workers": "servers", "server": "servers", "backends": "servers", "reals": "servers", "destinations": "servers",
    "dests": "servers", "service": "services", "virtuals": "services", "sched": "scheduler", "algorithm": "scheduler",
    "method": "forward", "fwmark": "mark", "vip": "address", "ip": "address", "host": "address", "proto": "protocol",
    "flags": "options", "persistent": "persistence", "interface": "device", "dev": "device", "u-threshold": "upper",
    "l-threshold": "lower", "roundrobin": "rr", "maglev": "mh", "leastconn": "lc", "native": "xdp", "offload": "xdp",
}  # fmt: skip
"""The same things in the words of others: IPVS, keepalived, HAProxy."""

_SENTENCES = {
    "slow_start": "no span of time; write seconds, or a text such as 500ms, 30s, 5m",
    "name": "a name has letters, digits, '.', '-' and '_' only, and begins and ends with a letter or digit",
    "timeout": "write seconds, or a text such as 300s, 5m or 1h",
    "device": "not a name of an interface",
}


def explain(tree: Tree, filename: str) -> list[Problem]:
    """Return all that is wrong with the document *tree*."""
    problems = [Problem(filename, *place, message) for place, message in tree.faults]

    def add(finding: Finding) -> None:
        where = dotted(finding.path)
        place = tree.place(finding.path, at_key=finding.at_key)
        problems.append(Problem(filename, *place, f"{where}: {finding.message}" if where else finding.message))

    # A copy, in which nothing is shared: what an alias stands for may be right in one place and wrong in another.
    value = msgspec.to_builtins(tree.value)
    findings = _without_echoes(_schema_findings(value))
    for finding in findings:
        add(finding)
    resolver = _resolve(value, findings)
    for finding in resolver.findings:
        if not _is_consequence(finding, findings):
            add(finding)
    for path, first, message in resolver.repeats:
        add(Finding(path, f"{message} (in line {tree.place(first)[0]})"))
    return problems


@functools.cache
def _schema() -> dict[str, Any]:
    return schema()


def _schema_findings(value: Any) -> Iterator[Finding]:
    validator = jsonschema_rs.validator_for(_schema())
    for error in validator.iter_errors(value):
        yield from _findings(error, value)


def _without_echoes(findings: Iterator[Finding]) -> list[Finding]:
    """Return the *findings* but for keys that are missing because they are misspelt."""
    found = list(findings)
    misspelt = {(*f.path[:-1], f.message.split("'")[1]) for f in found if f.message.startswith("unknown key (did")}
    return [f for f in found if not (f.message.startswith(_MISSING) and (*f.path, f.message.split("'")[1]) in misspelt)]


def _is_consequence(finding: Finding, earlier: list[Finding]) -> bool:
    """Return whether *finding* is only there because what *earlier* ones object to was cut out."""
    if finding.path[-1:] == ("listen",):
        return any(fault.path[: len(finding.path)] == finding.path for fault in earlier)
    if finding.path[2:3] == ("options",):
        return any(fault.path == (*finding.path[:2], "scheduler") for fault in earlier)
    return False


def _findings(error: Any, document: Any) -> Iterator[Finding]:
    """Yield what the validator's *error* means to an operator."""
    path = _path(error, document)
    kind = error.kind
    value = _at(document, path)
    if kind.name == "additionalProperties":
        known = _known(path, error)
        for key in kind.unexpected:
            yield Finding((*path, key), f"unknown key ({_hint(key, known)})", at_key=True)
    elif kind.name == "required":
        yield Finding(path, f"{_MISSING} {kind.property!r}")
    elif kind.name == "type":
        yield Finding(path, _wrong_type(value, kind.types))
    elif kind.name == "enum":
        yield Finding(
            path,
            _not_one_of(value, sorted(map(str, kind.options), key=lambda word: (len(word) * word.isdigit(), word))),
        )
    elif kind.name in ("minimum", "maximum"):
        yield Finding(path, f"{value} is outside {_range(error)}")
    elif kind.name == "propertyNames":
        key = kind.error.instance
        yield Finding((*path, str(key)), f"{key!r} is {_SENTENCES['device']}", at_key=True)
    elif kind.name == "anyOf":
        yield from _any_of(path, value, kind.context, document)
    elif kind.name == "pattern":
        yield Finding(path, f"{value!r}: {_SENTENCES.get(str(path[-1]), 'not in the form it must have')}")
    else:
        yield Finding(path, str(error.message))


def _any_of(path: Path, value: Any, context: list[list[Any]], document: Any) -> Iterator[Finding]:
    """Yield the faults of the one alternative that was meant, as far as its shape tells."""
    for errors in context:
        if not any(error.kind.name in ("type", "enum") and _path(error, document) == path for error in errors):
            for error in errors:
                yield from _findings(error, document)
            return
    if path == ("interfaces",):
        yield Finding(path, f"{_shown(value)} is neither auto nor a mapping such as {{eth0: xdp, eth1: tc}}")
    else:
        yield Finding(path, f"{_shown(value)}: {_SENTENCES.get(str(path[-1]), 'not in the form it must have')}")


def _path(error: Any, document: Any) -> Path:
    """Return where the *error* is; the validator gives keys that look like numbers as numbers."""
    found: list[str | int] = []
    for part in error.instance_path:
        if isinstance(document, dict) and part not in document:
            part = next(key for key in document if key.lstrip("+").isdigit() and int(key) == part)
        document = document[part]
        found.append(part)
    return tuple(found)


def _at(document: Any, path: Path) -> Any:
    for part in path:
        document = document[part]
    return document


def _known(path: Path, error: Any) -> list[str]:
    """Return the keys that the mapping at *path* may have."""
    part: Any = _schema()
    for word in tuple(error.schema_path)[:-1]:
        part = part[word]
    return list(part["properties"])


def _range(error: Any) -> str:
    part: Any = _schema()
    for word in tuple(error.schema_path)[:-1]:
        part = part[word]
    return f"{part['minimum']}..{part['maximum']}"


def _hint(word: str, known: list[str]) -> str:
    meant = _SYNONYMS.get(word.lower().replace("_", "-"))
    return f"did you mean {meant!r}?" if meant in known else suggestion(word.replace("_", "-"), known)


def _not_one_of(value: Any, options: list[str]) -> str:
    if isinstance(value, str):
        return f"unknown word {value!r} ({_hint(value, options)})"
    return f"{_shown(value)} is not one of {', '.join(options)}"


def _wrong_type(value: Any, types: list[str]) -> str:
    wanted = types[0]
    return f"{_shown(value)}, not {_TYPES[wanted]}{_type_hint(value, wanted)}"


def _type_hint(value: Any, wanted: str) -> str:
    if wanted == "integer" and isinstance(value, str) and value.strip().lstrip("+-").isdigit():
        return f"; write {int(value)} without quotes"
    if wanted == "boolean" and isinstance(value, str | int) and str(value).lower() in ("yes", "on", "y", "1", "true"):
        return "; write true"
    if wanted == "boolean" and isinstance(value, str | int) and str(value).lower() in ("no", "off", "n", "0", "false"):
        return "; write false"
    if wanted == "string" and isinstance(value, bool | int | float):
        return "; write it in quotes"
    if wanted == "array" and isinstance(value, dict):
        return "; begin each item with a dash"
    if value is None:
        return "; give it a value or leave the key out"
    return ""


def _shown(value: Any) -> str:
    """Return what *value* is, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value!r}"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"the number {value}"


def _resolve(value: Any, findings: list[Finding]) -> Resolver:
    """Resolve as much of the document *value* as has no fault; the value is used up."""
    for finding in findings:
        _cut(value, finding.path)
    value = value if isinstance(value, dict) else {}
    defaults = _convert(value.get("defaults", {}), Defaults) or Defaults()
    services = value.get("services", [])
    resolver = Resolver(defaults, "")
    resolver.timeouts(_convert(value.get("timeouts", {}), TimeoutsEntry) or UNSET)
    resolver.sysctls(_convert(value.get("sysctls", {}), dict[str, int | str]) or {})
    resolver.services(_entries(services if isinstance(services, list) else []))
    return resolver


def _cut(value: Any, path: Path) -> None:
    """Take what is at *path* out of *value*; items of lists leave a gap, so that others keep their number."""
    for part in path[:-1]:
        try:
            value = value[part]
        except (KeyError, TypeError):
            return
    if not path:
        return
    if isinstance(value, dict):
        value.pop(path[-1], None)
    elif isinstance(value, list):
        value[int(path[-1])] = _GONE


def _entries(services: list[Any]) -> Iterator[Entry]:
    for i, raw in enumerate(services):
        if not isinstance(raw, dict):
            continue
        rows = raw.pop("servers", [])
        if isinstance(raw.get("options"), dict) and _convert(raw["options"], Options) is None:
            del raw["options"]
        entry = _convert(raw, ServiceEntry)
        if entry is not None:
            servers = ((j, _convert(row, ServerEntry)) for j, row in enumerate(rows))
            yield i, entry, [(j, server) for j, server in servers if server is not None]


def _convert(raw: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError:
        return None
