"""The requests of the socket protocol: JSON in, a change or a view out.

Refuses, in a sentence, whatever IPVS can do and xlvs cannot yet, and every
argument it does not know: a request is never half understood.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from typing import Any

import xlvs
from xlvs import sched
from xlvs.daemon import views
from xlvs.daemon.engine import Engine
from xlvs.dataplane import _abi as abi
from xlvs.errors import InvalidError, UnsupportedError
from xlvs.model import SCHED_FLAGS, Server, Service, ServiceKey
from xlvs.model.server import Address

Args = Mapping[str, Any]

_SERVICE_FIELDS = {"protocol", "address", "port", "scheduler", "flags", "servers"}
_SERVER_FIELDS = {"address", "port", "forward", "weight", "upper", "lower"}


class Ops:
    """Answers requests.

    *interfaces* and *warnings* are what the daemon knows besides the engine;
    *netns* is what it was told to work in, empty for the caller's own.
    """

    def __init__(
        self,
        engine: Engine,
        instance: str,
        netns: str,
        interfaces: Callable[[], list[dict[str, Any]]],
        warnings: Callable[[], list[str]],
    ) -> None:
        self._engine = engine
        self._instance = instance
        self._netns = netns
        self._interfaces = interfaces
        self._warnings = warnings
        self._ops: dict[str, Callable[[Args], Any]] = {
            "add-service": self._add_service,
            "edit-service": self._edit_service,
            "delete-service": self._delete_service,
            "flush": lambda args: engine.flush(),
            "add-server": self._add_server,
            "edit-server": self._edit_server,
            "delete-server": self._delete_server,
            "zero": self._zero,
            "list": lambda args: views.services(engine, _optional_key(args)),
            "flows": lambda args: views.flows(engine, args.get("limit")),
            "timeouts": lambda args: dict(engine.state.timeouts),
            "drops": lambda args: engine.kernel.reasons(),
            "counters": lambda args: engine.kernel.counters(),
            "interfaces": lambda args: interfaces(),
            "status": self._status,
        }

    def answer(self, request: Args) -> Any:
        """Return the result of one request; raises `XlvsError`."""
        op = self._ops.get(str(request.get("op")))
        if op is None:
            raise InvalidError(f"unknown request {request.get('op')!r} (one of {', '.join(self._ops)})")
        return op(request)

    def _add_service(self, args: Args) -> None:
        service = _service(args)
        if service.servers:
            raise InvalidError("a service is added without servers; add them one by one")
        self._engine.change(self._engine.state.add_service(service), service.key)

    def _edit_service(self, args: Args) -> None:
        edited = _service(args)
        new = self._engine.state.edit_service(edited.key, scheduler=edited.scheduler, flags=edited.flags)
        self._engine.change(new, edited.key)

    def _delete_service(self, args: Args) -> None:
        key = _key(args)
        self._engine.change(self._engine.state.delete_service(key), key)

    def _add_server(self, args: Args) -> None:
        key, server = _key(args), _server(args)
        self._engine.change(self._engine.state.add_server(key, server), key)
        self._engine.routes.probe([server.address])

    def _edit_server(self, args: Args) -> None:
        key = _key(args)
        self._engine.change(self._engine.state.edit_server(key, _server(args)), key)

    def _delete_server(self, args: Args) -> None:
        key, data = _key(args), _object(args, "server")
        try:
            server = ipaddress.ip_address(data["address"]), int(data["port"])
        except (KeyError, TypeError, ValueError) as err:
            raise InvalidError(f"not a real server: {err}") from err
        self._engine.change(self._engine.state.delete_server(key, server), key)

    def _zero(self, args: Args) -> None:
        key = _optional_key(args)
        if key:
            self._engine.state.service(key)
        self._engine.zero([key] if key else list(self._engine.state.services))

    def _status(self, args: Args) -> dict[str, Any]:
        return {
            "instance": self._instance,
            "pid": os.getpid(),
            "version": xlvs.__version__,
            "netns": self._netns,
            "abi": abi.ABI,
            "warnings": self._warnings(),
            "flows": self._engine.kernel.live_flows(),
            "max_flows": self._engine.kernel.max_flows,
        }


def _object(args: Args, name: str) -> Mapping[str, Any]:
    data = args.get(name)
    if not isinstance(data, dict):
        raise InvalidError(f"the request lacks its {name}")
    return data


def _key(args: Args) -> ServiceKey:
    data = _object(args, "service")
    if "fwmark" in data:
        raise UnsupportedError("firewall-mark services are not supported yet")
    if data.get("protocol") == "sctp":
        raise UnsupportedError("SCTP services are not supported yet")
    key = ServiceKey.from_json(dict(data))
    _check_address(key.address)
    return key


def _optional_key(args: Args) -> ServiceKey | None:
    return _key(args) if args.get("service") is not None else None


def _service(args: Args) -> Service:
    _refuse_unknown(_object(args, "service"), _SERVICE_FIELDS, "services")
    _key(args)
    service = Service.from_json(dict(_object(args, "service")))
    sched.get(service.scheduler)
    if unknown := service.flags.difference(SCHED_FLAGS):
        raise InvalidError(f"unknown scheduler flag {min(unknown)!r} (one of {', '.join(SCHED_FLAGS)})")
    return service


def _server(args: Args) -> Server:
    data = _object(args, "server")
    _refuse_unknown(data, _SERVER_FIELDS, "real servers")
    server = Server.from_json(dict(data))
    _check_address(server.address)
    if server.upper or server.lower:
        raise UnsupportedError("connection thresholds of real servers are not supported yet")
    return server


def _refuse_unknown(data: Mapping[str, Any], known: set[str], what: str) -> None:
    if unknown := sorted(name for name in data.keys() - known if data[name]):
        raise UnsupportedError(f"{unknown[0]} of {what} is not supported yet")


def _check_address(address: Address) -> None:
    if address.version == 6 and address.ipv4_mapped is not None:
        raise InvalidError(f"{address} is an IPv4 address in IPv6 clothes; write {address.ipv4_mapped}")
