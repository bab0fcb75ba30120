"""``xlvs describe``: everything about one service or one server, for people to read."""

from __future__ import annotations

import argparse
from typing import Any

from xlvs.cli import base
from xlvs.cli.client import Client
from xlvs.cli.show import output
from xlvs.cli.show.output import endpoint
from xlvs.cli.show.views import options_of
from xlvs.errors import NoSuchServerError

_MEASURES = (
    ("connections", "conns"),
    ("packets in", "in_pkts"),
    ("packets out", "out_pkts"),
    ("bytes in", "in_bytes"),
    ("bytes out", "out_bytes"),
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``xlvs describe``."""
    found = base.parser("describe", "Show everything about one thing.")
    found.add_argument("what", choices=["service", "server"])
    found.add_argument("name", metavar="NAME", help="a service's name or id; a server's address, or address:port")
    return found


def main(argv: list[str]) -> int:
    """Run ``xlvs describe``; return the exit code."""
    options = parser().parse_args(argv)
    with base.connect(options) as client:
        warnings = client.get("/v1/status")["warnings"]
        if options.what == "service":
            print(service_text(client.get(f"/v1/services/{options.name}"), client.generation, warnings))
        else:
            print(_server(client, options.name))
    return 0


def service_text(service: Any, generation: int | None, warnings: list[str]) -> str:
    """Return all about a *service*; *warnings* are the daemon's."""
    listen = service["listen"]
    name = endpoint(listen["address"], listen["port"])
    parts = [
        output.facts(
            [
                ("Name", service["name"] or "-"),
                ("Id", f"{listen['protocol']}:{name}"),
                ("Listens on", f"{name} {listen['protocol']}"),
                ("Scheduler", service["scheduler"]),
                ("Options", ", ".join(options_of(service)) or "-"),
                ("Device", service["device"] or "- (xlvs does not add the address)"),
                ("Owner", service["owner"]),
                ("Generation", generation),
            ]
        ),
        "Counters:\n" + output.indented(_measures(service)),
        _servers(service["servers"]),
    ]
    if warnings:
        parts.append("Warnings:\n" + output.indented("\n".join(warnings)))
    return "\n\n".join(parts)


def _measures(thing: Any) -> str:
    rows = [(name, thing["stats"][key], thing["rates"][key]) for name, key in _MEASURES]
    return output.aligned(("", "TOTAL", "PER SECOND"), rows)


def _servers(servers: list[Any]) -> str:
    if not servers:
        return "Servers: none; new connections are refused"
    header = ("SERVER", "FORWARD", "WEIGHT", "ACTIVE", "INACTIVE", "CONNS", "CONNS/S", "OWNER")
    rows = [
        (
            *(endpoint(s["address"], s["port"]), s["forward"], s["weight"], s["active"], s["inactive"]),
            *(s["stats"]["conns"], s["rates"]["conns"], s["owner"]),
        )
        for s in servers
    ]
    return "Servers:\n" + output.indented(output.aligned(header, rows))


def _server(client: Client, name: str) -> str:
    """Return all about a server in each service that has it; raises `NoSuchServerError`."""
    found = [
        _server_text(service, server)
        for service in client.get("/v1/services")["services"]
        for server in service["servers"]
        if name in (server["address"], endpoint(server["address"], server["port"]))
    ]
    if not found:
        raise NoSuchServerError(f"no service has the server {name}; write it as 10.0.0.1 or 10.0.0.1:80")
    return "\n\n".join(found)


def _server_text(service: Any, server: Any) -> str:
    listen = service["listen"]
    of = f"{listen['protocol']}:{endpoint(listen['address'], listen['port'])}"
    total = sum(s["weight"] for s in service["servers"])
    share = f" of {total}" if server["weight"] else " (takes no new connections)"
    facts = output.facts(
        [
            ("Server", endpoint(server["address"], server["port"])),
            ("Service", f"{service['name']} {of}".strip()),
            ("Forward", server["forward"]),
            ("Weight", f"{server['weight']}{share}"),
            ("Connections", f"{server['active']} active, {server['inactive']} inactive"),
            ("Owner", server["owner"]),
        ]
    )
    return f"{facts}\n\nCounters:\n{output.indented(_measures(server))}"
