"""A stand-in for the daemon: the socket protocol over the pure `State`, with counters given by the test.

It balances nothing.  Checks are in the order of the kernel of IPVS: the
service first, then its scheduler.
"""

from __future__ import annotations

import json
import socketserver
import threading
from pathlib import Path
from typing import Any

from xlvs.errors import InvalidError, UnknownSchedulerError, XlvsError
from xlvs.model import Server, Service, ServiceKey, State

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "mh")
FIELDS = ("conns", "in_pkts", "out_pkts", "in_bytes", "out_bytes")
ZERO = dict.fromkeys(FIELDS, 0)


class FakeDaemon:
    """A daemon on a real unix socket in a thread of this process; use it in a ``with`` statement.

    *counts* maps "VIP:port" or "VIP:port server:port" to what ``list`` adds to
    that row: ``stats``, ``rates``, ``active``, ``inactive``.
    """

    def __init__(self, path: Path) -> None:
        self.state = State()
        self.counts: dict[str, dict[str, Any]] = {}
        self.flows: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.connections = 0
        self._server = socketserver.ThreadingUnixStreamServer(str(path), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> FakeDaemon:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: dict[str, Any]) -> Any:
        """Carry out one request and return its result; raises `XlvsError`."""
        self.requests.append(request)
        op = request["op"]
        if op == "flush":
            self.state = State()
        elif op == "timeouts":
            return self.state.timeouts
        elif op == "flows":
            return self.flows
        elif op == "list":
            return self._list(request)
        elif op == "zero":
            self._zero(request)
        elif op.endswith("-service"):
            self._edit_service(op, request["service"])
        elif op.endswith("-server"):
            self._edit_server(op, ServiceKey.from_json(request["service"]), request["server"])
        else:
            raise InvalidError(f"unknown operation {op!r}")
        return None

    def _edit_service(self, op: str, data: dict[str, Any]) -> None:
        service = Service.from_json(data)
        if op == "delete-service":
            self.state = self.state.delete_service(service.key)
            return
        if op == "add-service":
            state = self.state.add_service(service)
        else:
            state = self.state.edit_service(service.key, scheduler=service.scheduler, flags=service.flags)
        if service.scheduler not in SCHEDULERS:
            raise UnknownSchedulerError(f"unknown scheduler {service.scheduler!r}")
        self.state = state

    def _edit_server(self, op: str, key: ServiceKey, data: dict[str, Any]) -> None:
        server = Server.from_json(data)
        if op == "add-server":
            self.state = self.state.add_server(key, server)
        elif op == "edit-server":
            self.state = self.state.edit_server(key, server)
        else:
            self.state = self.state.delete_server(key, server.key)

    def _zero(self, request: dict[str, Any]) -> None:
        if "service" not in request:
            self.counts.clear()
            return
        key = ServiceKey.from_json(request["service"])
        self.state.service(key)
        self.counts = {name: row for name, row in self.counts.items() if name.split()[0] != f"{key.address}:{key.port}"}

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        services = list(self.state.services.values())
        if "service" in request:
            services = [self.state.service(ServiceKey.from_json(request["service"]))]
        return {"version": [1, 2, 1], "size": 4096, "services": [self._service_row(service) for service in services]}

    def _service_row(self, service: Service) -> dict[str, Any]:
        name = f"{service.key.address}:{service.key.port}"
        row = {**service.to_json(), "stats": ZERO, "rates": ZERO, **self.counts.get(name, {})}
        row["servers"] = [
            {
                **server.to_json(),
                "active": 0,
                "inactive": 0,
                "persistent": 0,
                "stats": ZERO,
                "rates": ZERO,
                **self.counts.get(f"{name} {server.address}:{server.port}", {}),
            }
            for server in service.servers
        ]
        return row


def _handler(daemon: FakeDaemon) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            daemon.connections += 1
            for line in self.rfile:
                reply: dict[str, Any]
                try:
                    reply = {"ok": True, "result": daemon.answer(json.loads(line))}
                except XlvsError as error:
                    reply = {"ok": False, "error": {"code": error.code, "message": str(error)}}
                self.wfile.write(json.dumps(reply).encode() + b"\n")

    return Handler
