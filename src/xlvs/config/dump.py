"""The model's values as a configuration file: what `load` reads back equal, but for the owners."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml
from msgspec import UNSET, UnsetType

from xlvs.config.reader import PLAIN
from xlvs.config.words import options
from xlvs.model.codec import to_builtins
from xlvs.model.match import Match
from xlvs.model.server import Server
from xlvs.model.service import Service


class _Dumper(yaml.CSafeDumper):
    """Quotes every text that one of the two YAML versions would take for something else."""


for _kind, _pattern in PLAIN.items():
    # PyYAML knows 1.1 and quotes what that would misread.  What a tag nobody uses claims besides gets quotes, too.
    _Dumper.add_implicit_resolver(f"!{_kind}", re.compile(rf"(?:{_pattern.pattern})\Z"), None)


def dump(services: Iterable[Service], *, interfaces: dict[str, str] | None | UnsetType = UNSET) -> str:
    """Return the text of a file with these *services*; *interfaces* as in `Document`."""
    document: dict[str, Any] = {}
    if not isinstance(interfaces, UnsetType):
        document["interfaces"] = "auto" if interfaces is None else dict(interfaces)
    document["services"] = [entry(service) for service in services]
    return str(yaml.dump(document, Dumper=_Dumper, default_flow_style=None, sort_keys=False, width=200))


def entry(service: Service) -> dict[str, Any]:
    """Return the entry of a *service* as plain values, nothing left to defaults."""
    key = service.key
    found: dict[str, Any] = {"name": service.name} if service.name else {}
    found["listen"] = {"address": str(key.address), "port": key.port, "protocol": key.protocol}
    if key.mark:
        found["listen"] = {"mark": key.mark, "family": key.version}
    if service.match:
        found["match"] = [_match_entry(match) for match in service.match]
    if service.device:
        found["address"] = {"device": service.device}
    found["scheduler"] = service.scheduler
    if service.flags:
        found["options"] = dict.fromkeys(options(service.scheduler, service.flags), True)
    if service.table:
        found["table"] = service.table
    if service.persistent:
        found["persistence"] = {"timeout": service.persistent}
        if service.engine:
            found["persistence"]["engine"] = service.engine
        if service.netmask:
            found["persistence"]["netmask"] = service.mask if key.version == 6 else service.mask.bit_count()
    if service.ops:
        found["ops"] = True
    found["servers"] = [server_entry(server) for server in service.servers]
    if service.health or service.sorry_server:
        found["health"] = plain(service.health) if service.health else {}
        if service.sorry_server:
            found["health"]["sorry_server"] = server_entry(service.sorry_server)
    return found


def _match_entry(match: Match) -> dict[str, Any]:
    found: dict[str, Any] = {"address": match.network}
    if match.protocol:
        found["protocol"] = match.protocol
    if match.ports:
        found["ports"] = match.low if match.low == match.high else match.ports
    return found


def server_entry(server: Server) -> dict[str, Any]:
    """Return the entry of a *server* as plain values."""
    found: dict[str, Any] = {
        "address": str(server.address),
        "port": server.port,
        "forward": server.forward,
        "weight": server.weight,
    }
    if server.upper or server.lower:
        found |= {"upper": server.upper, "lower": server.lower}
    if server.tunnel_port or server.tunnel_checksum != "none":
        found["tunnel"] = {"port": server.tunnel_port, "checksum": server.tunnel_checksum}
    if server.health:
        found["health"] = plain(server.health)
    return found


def plain(value: Any) -> dict[str, Any]:
    """Return a value of the model as plain values, without what is left to defaults."""
    found: dict[str, Any] = to_builtins(value)
    return {name: given for name, given in found.items() if given not in (None, {})}


def inline(value: Any) -> str:
    """Return a plain *value* as it is written within a line."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=1 << 20)
    return str(text).removesuffix("\n").removesuffix("\n...")
