"""What differs between two states, as values for the API and as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from xlvs.config.dump import inline, plain
from xlvs.config.words import options
from xlvs.model.server import Server
from xlvs.model.service import Service
from xlvs.model.state import State

Action = Literal["add", "change", "remove"]

Fields = dict[str, tuple[Any, Any]]
"""What changes by name: before and after, null where there is none."""


class ServerDifference(msgspec.Struct, frozen=True, gc=False):
    """A real server that is added, changed or removed; *server* is its address and port."""

    action: Action
    server: str
    fields: Fields


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """A service (*service* is its id), or the interfaces, timeouts or sysctls, added, changed or removed."""

    action: Action
    what: Literal["service", "interfaces", "timeouts", "sysctls"]
    service: str = ""
    name: str = ""
    fields: Fields = {}
    servers: tuple[ServerDifference, ...] = ()


def differences(have: State, want: State) -> list[Difference]:
    """Return what turns *have* into *want*."""
    found = []
    if have.interfaces != want.interfaces:
        pair = _interfaces(have.interfaces), _interfaces(want.interfaces)
        found.append(Difference("change", "interfaces", fields={"interfaces": pair}))
    if have.timeouts != want.timeouts:
        found.append(Difference("change", "timeouts", fields=_changed(have.timeouts, want.timeouts)))
    if have.sysctls != want.sysctls:
        found.append(Difference("change", "sysctls", fields=_changed(have.sysctls, want.sysctls)))
    for key, old in have.services.items():
        new = want.services.get(key)
        if new is None:
            found.append(_whole("remove", old))
        elif new is not old and new != old:
            found.append(_changes(old, new))
    found += [_whole("add", new) for key, new in want.services.items() if key not in have.services]
    return found


def _interfaces(interfaces: dict[str, str] | None) -> str:
    if interfaces is None:
        return "auto"
    return ", ".join(f"{name}: {hook}" for name, hook in interfaces.items()) or "none"


def _changed(old: dict[str, Any], new: dict[str, Any]) -> Fields:
    words = [*old, *(word for word in new if word not in old)]
    return {word: (old.get(word), new.get(word)) for word in words if old.get(word) != new.get(word)}


def _service_fields(service: Service) -> dict[str, Any]:
    fields = {
        "name": service.name,
        "scheduler": service.scheduler,
        "options": ", ".join(options(service.scheduler, service.flags)),
        "table": service.table,
        "persistence": service.persistent,
        "netmask": service.netmask,
        "engine": service.engine,
        "ops": service.ops,
        "match": ", ".join(map(str, service.match)),
        "health": inline(plain(service.health)) if service.health else "",
        "sorry server": str(service.sorry_server or ""),
        "device": service.device,
        "owner": service.owner,
    }
    return {word: value for word, value in fields.items() if value}


def _server_fields(server: Server) -> dict[str, Any]:
    fields: dict[str, Any] = {"forward": server.forward, "weight": server.weight}
    if server.upper or server.lower:
        fields |= {"upper": server.upper, "lower": server.lower}
    if server.tunnel_port or server.tunnel_checksum != "none":
        fields |= {"tunnel port": server.tunnel_port, "tunnel checksum": server.tunnel_checksum}
    if server.health:
        fields["health"] = inline(plain(server.health))
    fields["owner"] = server.owner
    return fields


def _whole(action: Literal["add", "remove"], service: Service) -> Difference:
    servers = tuple(_whole_server(action, server) for server in service.servers)
    return Difference(
        action, "service", service.key.id, service.name, _one_sided(action, _service_fields(service)), servers
    )


def _whole_server(action: Literal["add", "remove"], server: Server) -> ServerDifference:
    return ServerDifference(action, str(server), _one_sided(action, _server_fields(server)))


def _one_sided(action: str, fields: dict[str, Any]) -> Fields:
    return {word: (None, value) if action == "add" else (value, None) for word, value in fields.items()}


def _changes(old: Service, new: Service) -> Difference:
    fields = _changed(_service_fields(old), _service_fields(new))
    before, after = {s.key: s for s in old.servers}, {s.key: s for s in new.servers}
    servers = []
    for key, server in before.items():
        other = after.get(key)
        if other is None:
            servers.append(_whole_server("remove", server))
        elif other != server:
            changed = _changed(_server_fields(server), _server_fields(other))
            servers.append(ServerDifference("change", str(server), changed))
    servers += [_whole_server("add", server) for key, server in after.items() if key not in before]
    stayed = [str(before[key]) for key in before if key in after], [str(after[key]) for key in after if key in before]
    if stayed[0] != stayed[1]:
        fields["order of servers"] = " ".join(stayed[0]), " ".join(stayed[1])
    return Difference("change", "service", new.key.id, new.name or old.name, fields, tuple(servers))


_SIGNS = {"add": "+", "change": "~", "remove": "-"}


def render(found: Iterable[Difference]) -> str:
    """Return the differences as lines: + is added, ~ is changed, - is removed; empty if there are none."""
    return "".join(f"{line}\n" for difference in found for line in _lines(difference))


def _lines(difference: Difference) -> Iterator[str]:
    sign = _SIGNS[difference.action]
    if difference.what != "service":
        for word, (old, new) in difference.fields.items():
            yield f"{sign} {difference.what}{'' if word == difference.what else ' ' + word}: {old} -> {new}"
        return
    title = f"{difference.name} {difference.service}" if difference.name else difference.service
    if difference.action == "change":
        yield f"{sign} service {title}"
        for word, (old, new) in difference.fields.items():
            yield f"    ~ {word}: {_shown(old)} -> {_shown(new)}"
    else:
        yield f"{sign} service {title} ({_facts(difference.fields, 'name')})"
    for server in difference.servers:
        if server.action == "change":
            changes = ", ".join(f"{word}: {_shown(old)} -> {_shown(new)}" for word, (old, new) in server.fields.items())
            yield f"    ~ server {server.server} ({changes})"
        else:
            yield f"    {_SIGNS[server.action]} server {server.server} ({_facts(server.fields, 'owner')})"


def _facts(fields: Fields, without: str) -> str:
    """Return the one side there is: ``wlc, options mh-port``."""
    words = ((word, old if new is None else new) for word, (old, new) in fields.items() if word != without)
    return ", ".join(str(value) if word in ("scheduler", "forward") else f"{word} {value}" for word, value in words)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)


def summary(found: Sequence[Difference]) -> str:
    """Return how much changes, in a few words: ``2 services added, 1 changed, 1 removed``."""
    counts = Counter(str(difference.action) for difference in found if difference.what == "service")
    words: list[str] = []
    for action, word in (("add", "added"), ("change", "changed"), ("remove", "removed")):
        if counts[action]:
            noun = "" if words else " service" if counts[action] == 1 else " services"
            words.append(f"{counts[action]}{noun} {word}")
    words += [f"{difference.what} changed" for difference in found if difference.what != "service"]
    return ", ".join(words) or "nothing changed"
