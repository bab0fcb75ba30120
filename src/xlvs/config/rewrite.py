"""Change one service in the text of a file and leave everything else as it was written: comments, order, quotes.

Refuses what it cannot do without touching more, such as a service whose
servers come from an alias: the result is read again before anyone gets it.
"""

from __future__ import annotations

from typing import Any

import yaml

from xlvs.config.dump import entry, server_entry
from xlvs.config.load import load
from xlvs.config.patch import Item, patch
from xlvs.config.problems import ConfigError
from xlvs.config.reader import read_yaml
from xlvs.errors import InvalidError, NoSuchServiceError
from xlvs.model.service import Service


def rewrite(text: str, service: Service, *, filename: str) -> str:
    """Return the *text* of a file with the service of the same key as *service* is; raises `InvalidError`.

    Raises `ConfigError` if the file has faults, `NoSuchServiceError` if it lacks the service.
    """
    have = load(text, filename=filename, owner=service.owner).services
    index = next((i for i, other in enumerate(have) if other.key == service.key), None)
    if index is None:
        raise NoSuchServiceError(f"{filename} has no service {service.key}; it was changed since it was applied")
    if have[index] == service:
        return text
    refusal = InvalidError(f"{filename} is written such that {service.title} cannot be changed alone; edit the file")
    bare = text.removeprefix("\ufeff")
    raw = read_yaml(bare).value["services"][index]
    node = _service_node(yaml.compose(bare, Loader=yaml.CSafeLoader), index)
    try:
        changed = patch(bare, node, raw, _changed(raw, have[index], service))
        wanted = (*have[:index], service, *have[index + 1 :])
        if load(changed, filename=filename, owner=service.owner).services != wanted:
            raise refusal
    except (ConfigError, KeyError, ValueError, yaml.YAMLError) as err:
        raise refusal from err
    return text[: len(text) - len(bare)] + changed


def _service_node(document: Any, index: int) -> Any:
    return next(value for key, value in document.value if key.value == "services").value[index]


def _changed(raw: dict[str, Any], old: Service, new: Service) -> dict[str, Any]:
    """Return the entry *raw*, which says *old*, such that it says *new*."""
    before, after = entry(old), entry(new)
    found = dict(raw)
    for key in ("name", "scheduler", "address"):
        if before.get(key) != after.get(key):
            if key in after:
                found[key] = after[key]
            else:
                found.pop(key, None)
    if before.get("options") != after.get("options"):
        said = {word: on for word, on in raw.get("options", {}).items() if not on or word in after.get("options", {})}
        found["options"] = said | after.get("options", {})
        if not found["options"]:
            del found["options"]
    if old.servers != new.servers:
        items = _servers(raw.get("servers", []), old, new)
        found["servers"] = items if "servers" in raw else [item.value for item in items]
    return found


def _servers(raw: list[Any], old: Service, new: Service) -> list[Item]:
    places = {server.key: i for i, server in enumerate(old.servers)}
    items = []
    for server in new.servers:
        i = places.get(server.key)
        if i is None:
            items.append(Item(server_entry(server), None))
            continue
        before, after = server_entry(old.servers[i]), server_entry(server)
        items.append(Item(raw[i] | {key: value for key, value in after.items() if value != before.get(key)}, i))
    return items
