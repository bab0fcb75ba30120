"""Configurations kept by xlvs before 0.2, in today's form: a director that is upgraded keeps its services.

Pure.  Both take and return plain JSON values.
"""

from __future__ import annotations

from typing import Any

_KEY = ("protocol", "address", "port")


def snapshot(data: dict[str, Any]) -> dict[str, Any]:
    """Return a snapshot in today's form; raises `KeyError` or `TypeError` on nonsense."""
    services = data.get("services", [])
    return {
        "format": 1,
        "generation": 0,
        "services": [_service(service) for service in services],
        "timeouts": data.get("timeouts", {}),
        "last_weights": [weight for service in services for weight in _last_weights(service)],
        "baselines": _baselines(data.get("baselines", {})),
    }


def record(data: dict[str, Any]) -> dict[str, Any]:
    """Return a record of the journal in today's form; raises `KeyError` or `TypeError` on nonsense."""
    if "put" in data:
        return {"put": [_service(data["put"])], "last_weights": _last_weights(data["put"])}
    if "drop" in data:
        return {"drop": [_key(data["drop"])]}
    raise KeyError("neither put nor drop")


def _key(service: dict[str, Any]) -> dict[str, Any]:
    return {name: service[name] for name in _KEY}


def _service(service: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in service.items() if name not in (*_KEY, "last_weights")}
    return {"listen": _key(service), **rest}


def _last_weights(service: dict[str, Any]) -> list[list[Any]]:
    return [[_key(service), *weight] for weight in service.get("last_weights", ())]


def _baselines(data: dict[str, Any]) -> dict[str, Any]:
    return {
        kind: {int(number): values for number, values in data.get(kind, {}).items()} for kind in ("services", "servers")
    }
